r"""Converts formulas from LaTeX to MathML, which browsers set without a script, a font or a request.

The conversion is done by latex2mathml. Its own output is not safe to embed: it unescapes the content of ``\text``,
so that markup in a formula would become markup of the page. This module therefore keeps only the tree that the
converter builds, lets nothing but known elements and attributes through, and writes the text escaped.
"""

import re
from html import unescape
from xml.etree.ElementTree import Element, tostring

__all__ = ["SYMBOLS", "UnreadableFormulaError", "mathml", "mathml_parts"]

# What a formula needs; anything else (links, images, styles, actions) is refused.
_ELEMENTS = frozenset(
    {"math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mfrac", "msqrt", "mroot", "mstyle", "mpadded"}
    | {"msub", "msup", "msubsup", "munder", "mover", "munderover", "mtable", "mtr", "mtd"}
)
_ATTRIBUTES = frozenset(
    {"display", "stretchy", "fence", "form", "accent", "minsize", "maxsize", "lspace", "rspace", "width"}
    | {"displaystyle", "scriptlevel", "columnalign", "mathvariant", "movablelimits"}
)
# What the formulas of the measures use, as LaTeX and in words.
SYMBOLS = (
    ("x", "the example that a measure reads: an image, or its PGD example where the id ends in _pgd"),
    ("x^*", "the adversarial example of an image"),
    ("y", "the label"),
    (r"\hat{y}", "the predicted class"),
    ("z = f(x)", "the logits"),
    ("p", "their softmax"),
    (r"\ell", "the cross-entropy in nats"),
    ("n", "the number of examples"),
    ("w", "the parameters"),
    ("W_l", "the weight of layer l as a matrix"),
    ("W_l^0", "the same at initialisation"),
    (r"\sigma_{\max}", "the largest singular value"),
    (r"\varepsilon", "the radius of the threat model"),
    ("m_{(k)}", "the k-th smallest of n margins m"),
    (r"\mathbb{1}[\cdot]", "1 where the statement holds, 0 elsewhere"),
)
_UNSIZED_BAR = re.compile(r"(?<!\\left)(?<!\\right)\\([lr])(vert|Vert)(?![a-zA-Z])")
_WORD = re.compile(r"[a-zA-Z][a-zA-Z\s\u2009]+")
_THIN = "0.1667em"  # the space that LaTeX sets around the name of an operator, 3/18 em
_ZEROS = {"double-struck": 0x1D7D8, "bold": 0x1D7CE}  # of digits in a style, as Unicode has them
_MACRO = re.compile(r"\\(re)?newcommand|\\def(?![a-zA-Z])|\\DeclareMathOperator")  # could grow without bound


class UnreadableFormulaError(ValueError):
    """The LaTeX is not a formula that can be set: it is broken, uses an unknown command, or holds markup."""


def mathml(latex: str, *, block: bool = False) -> str:
    r"""Return a formula as a ``<math>`` element, safe to embed in a page.

    A ``block`` formula stands on a line of its own, with limits above and below sums. Raises UnreadableFormulaError
    for LaTeX that cannot be converted: broken, empty, or with an unknown command.

    >>> mathml(r"\frac{1}{n}")
    '<math><mfrac><mn>1</mn><mi>n</mi></mfrac></math>'
    >>> mathml(r"\text{<b>}")
    '<math><mtext>&lt;b&gt;</mtext></math>'
    """
    from latex2mathml.converter import convert_to_element

    if not latex.strip():
        raise UnreadableFormulaError("the formula is empty")
    if _MACRO.search(latex):
        raise UnreadableFormulaError(f"a formula may not define commands: {latex!r}")
    # bars that belong together become one group, so that an index of the right one is an index of the whole
    sized = _UNSIZED_BAR.sub(lambda bar: f"\\{'left' if bar[1] == 'l' else 'right'}{bar[0]}", latex)
    try:
        root = convert_to_element(sized, display="block" if block else "inline")
    except Exception as error:  # the converter lets through whatever its parser stumbles over
        raise UnreadableFormulaError(f"{type(error).__name__} in {latex!r}") from error
    root.attrib.pop("xmlns", None)  # an HTML parser knows the element
    if not block:
        root.attrib.pop("display", None)
    _clean(root, latex)
    return tostring(root, encoding="unicode", short_empty_elements=False)


def mathml_parts(latex: str) -> list[str]:
    r"""Return a formula and its side conditions, which follow ``,\quad``, as one ``<math>`` element each.

    A browser breaks lines between elements but not inside one, so that a long definition fits a narrow column. Raises
    UnreadableFormulaError as ``mathml`` does.

    >>> mathml_parts(r"w,\quad w = 1")
    ['<math><mi>w</mi><mo>,</mo></math>', '<math><mi>w</mi><mo>=</mo><mn>1</mn></math>']
    """
    *parts, last = latex.split(r",\quad ")
    return [*(mathml(f"{part},") for part in parts), mathml(last)]


def _clean(node: Element, latex: str) -> None:
    """Check one element and those below it, write symbols as characters and leave out rows that group nothing."""
    if node.tag not in _ELEMENTS:
        raise UnreadableFormulaError(f"{node.tag!r} is not allowed in {latex!r}")
    unknown = set(node.attrib) - _ATTRIBUTES
    if unknown:
        raise UnreadableFormulaError(f"{sorted(unknown)} is not allowed in {latex!r}")
    node.text = unescape(node.text or "") or None
    if (node.text or "").startswith("\\") and node.tag != "mtext":
        raise UnreadableFormulaError(f"the command {node.text} in {latex!r} is not known")
    for child in node:
        _clean(child, latex)
    for index, child in enumerate(list(node)):
        while child.tag == "mrow" and len(child) == 1 and not child.attrib:
            child = child[0]
        node[index] = child
    if node.tag == "math" and len(node) == 1 and node[0].tag == "mrow":
        node[:] = list(node[0])
    _spell(node)
    _space_words(node)


def _spell(node: Element) -> None:
    """Write symbols as browsers understand them: they ignore a digit's style, and a tilde is a relation."""
    if node.text == "~":
        node.tag, node.text = "mo", "\u223c"
    zero = _ZEROS.get(node.attrib.get("mathvariant", ""))
    if node.tag == "mn" and zero and (node.text or "").isdigit():
        del node.attrib["mathvariant"]
        node.text = "".join(chr(zero + int(digit)) for digit in node.text or "")


def _space_words(parent: Element) -> None:
    """Space names such as max, log and acc as LaTeX does: browsers would set them like a relation, with wide gaps."""
    children = list(parent)
    for index, child in enumerate(children):
        core = _core(child)
        if core.tag not in ("mo", "mi") or not _WORD.fullmatch(core.text or ""):
            continue
        core.tag = "mo"
        before = _core(children[index - 1]) if index and parent.tag in ("mrow", "math") else None
        after = _core(children[index + 1]) if index + 1 < len(children) and parent.tag in ("mrow", "math") else None
        core.attrib["lspace"] = _THIN if before is not None and before.tag in ("mi", "mn", "mfrac") else "0"
        core.attrib["rspace"] = "0" if after is None or _first_text(after)[:1] in ("(", "[", ",") else _THIN


def _first_text(node: Element) -> str:
    """Return the text that a row begins with."""
    while len(node):
        node = node[0]
    return node.text or ""


def _core(node: Element) -> Element:
    """Return the element that carries scripts, below any number of them."""
    while node.tag in ("msub", "msup", "msubsup", "munder", "mover", "munderover") and len(node):
        node = node[0]
    return node
