"""Text that comes from files, made safe for where it goes: a terminal, a spreadsheet, an expression of a chart.

Ids, reasons, names of classes, columns and levels may hold escape sequences that change a terminal, line breaks that
forge messages of ours, marks that turn the direction of writing, formulas that a spreadsheet runs, and characters that
the language of charts cannot read. Every such text goes through one of these functions.
"""

import re

__all__ = ["for_chart", "for_spreadsheet", "for_terminal", "from_spreadsheet"]

_LONGEST = 4000
# What Excel, LibreOffice and Google Sheets take for the start of a formula, in either width (OWASP, "CSV Injection").
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# Vega's reader of expressions ends a text at a line break of any kind, and before a quote after a backslash; XML has no
# control characters; marks of direction and lone surrogates serve no name.
_NOT_DRAWN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff\\]"
)
_BREAKS, _BACKSLASH = "\n\x85\u2028\u2029", "\uff3c"  # the latter is wide, and means nothing to anybody


def for_terminal(text: str, longest: int = _LONGEST) -> str:
    r"""Return a text on one line: what is not printable as an escape, what is beyond ``longest`` characters cut off.

    >>> print(for_terminal("net\x1b[2J\nmeasurebench: all measured"))
    net\x1b[2J\nmeasurebench: all measured
    >>> for_terminal("abcdef", 3)
    'abc ... (6 characters)'
    """
    cut = text if len(text) <= longest else f"{text[:longest]} ... ({len(text)} characters)"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def for_spreadsheet(text: str) -> str:
    """Return the text of a cell so that a spreadsheet shows it and runs nothing; numbers stay numbers.

    >>> for_spreadsheet("=1+1"), for_spreadsheet("-0.5"), for_spreadsheet("AT")
    ("'=1+1", '-0.5', 'AT')
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def from_spreadsheet(text: str) -> str:
    """Return the text that ``for_spreadsheet`` was given.

    >>> from_spreadsheet(for_spreadsheet("'=1+1"))
    "'=1+1"
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def for_chart(text: str) -> str:
    r"""Return a name that an expression of Vega and a picture can hold: what they cannot as a sign that stands for it.

    >>> for_chart("spec\nnorm"), for_chart("path_norm")
    ('spec␤norm', 'path_norm')
    """
    return _NOT_DRAWN.sub(lambda found: _sign(found[0]), text)


def _sign(c: str) -> str:
    """Return the sign that stands for a character: one of Unicode's pictures of control characters, or its number."""
    if c == "\\":
        return _BACKSLASH
    if c in _BREAKS:
        return "\u2424"
    return chr(0x2400 + ord(c)) if ord(c) < 0x20 else f"\u2039{ord(c):x}\u203a"
