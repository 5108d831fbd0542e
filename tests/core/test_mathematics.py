from xml.etree.ElementTree import fromstring

import pytest

from measurebench.core.infos import measure_infos
from measurebench.core.mathematics import UnreadableFormulaError, mathml


def test_a_fraction_becomes_a_fraction() -> None:
    assert mathml(r"\frac{1}{n}") == "<math><mfrac><mn>1</mn><mi>n</mi></mfrac></math>"


def test_a_block_formula_says_so() -> None:
    assert mathml("x", block=True) == '<math display="block"><mi>x</mi></math>'


def test_an_index_of_a_norm_belongs_to_the_whole_norm() -> None:
    root = fromstring(mathml(r"\lVert w \rVert_2"))
    assert [child.tag for child in root] == ["msub"]
    group, index = root[0]
    assert "".join(group.itertext()) == "‖w‖"
    assert index.text == "2"


def test_names_of_functions_are_spaced_as_in_latex() -> None:
    name = fromstring(mathml(r"2 \log x"))[1]
    assert (name.text, name.attrib) == ("log", {"lspace": "0.1667em", "rspace": "0.1667em"})
    call = fromstring(mathml(r"\operatorname{acc}(w)"))[0]
    assert (call.text, call.attrib) == ("acc", {"lspace": "0", "rspace": "0"})


@pytest.mark.parametrize(("latex", "shown"), [(r"\mathbb{1}", "\U0001d7d9"), (r"\mathbf{1}", "\U0001d7cf")])
def test_a_styled_digit_is_a_character_of_its_own(latex: str, shown: str) -> None:
    assert mathml(latex) == f"<math><mn>{shown}</mn></math>"


@pytest.mark.parametrize(
    "hostile",
    [
        "</math><script>alert(1)</script>",
        r"\text{</math><script>alert(1)</script>}",
        r"\text{&lt;script&gt;alert(1)&lt;/script&gt;}",
        r"\mathrm{<img src=x onerror=alert(1)>}",
        r"\operatorname{</math><script>}",
    ],
)
def test_markup_in_a_formula_stays_text(hostile: str) -> None:
    try:
        made = mathml(hostile)
    except UnreadableFormulaError:
        return
    assert {element.tag for element in fromstring(made).iter()} <= {"math", "mrow", "mi", "mo", "mn", "mtext", "mspace"}
    assert "<script" not in made
    assert "<img" not in made


@pytest.mark.parametrize(
    "refused",
    [
        "",
        "  ",
        r"\frac{1}{",
        r"\unknowncommand x",
        r"\href{javascript:alert(1)}{x}",
        r"\style{color:red}{x}",
        r"\color{red}{x}",
        r"\newcommand{\a}{xx}\a",
        r"\lVert x",
        "{" * 5000,
    ],
)
def test_what_is_no_plain_formula_is_refused(refused: str) -> None:
    with pytest.raises(UnreadableFormulaError):
        mathml(refused)


@pytest.mark.parametrize("name", list(measure_infos()))
def test_every_measure_s_formula_can_be_set(name: str) -> None:
    latex = measure_infos()[name].latex
    assert latex.strip()
    for leftover in ("!=", "<=", ">=", "||", "mean_x", "sum_", "grad_", " max_", "floor(", "sqrt(", "->"):
        assert leftover not in latex.replace("\\sum_", "").replace("\\max_", "")
    shown = "".join(fromstring(mathml(latex, block=True)).itertext())
    assert "\\" not in shown
    assert "_" not in shown
    assert "^" not in shown.replace("^", "", latex.count("\\hat"))
