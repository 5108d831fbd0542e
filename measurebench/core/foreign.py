"""Text that comes from files, made safe for where it goes: a terminal, a spreadsheet, an expression of a chart.

Ids, reasons, names of classes, columns and levels may hold escape sequences that change a terminal, line breaks that
forge messages of ours, marks that turn the direction of writing, formulas that a spreadsheet runs, and characters that
the language of charts cannot read. Every such text goes through one of these functions.
"""

import json
import re

__all__ = ["for_chart", "for_spreadsheet", "for_terminal", "from_spreadsheet"]

_LONGEST = 4000
# What Excel, LibreOffice and Google Sheets take for the start of a formula, in either width (OWASP, "CSV Injection").
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# Vega's reader of expressions ends a text at these; the others are what Vega-Lite itself reads in names of fields.
_UNREADABLE = {"\n": "\u2424", "\r": "\u240d", "\t": "\u2409", "\u2028": "\u2424", "\u2029": "\u2424", "\x85": "\u2424"}
_LOOKALIKES = {"\\": "\uff3c", '"': "\uff02", "'": "\u2019"}


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
    r"""Return a name that an expression of Vega can hold: what it cannot read as a sign that looks alike.

    >>> for_chart("spec\nnorm"), for_chart("path_norm")
    ('spec␤norm', 'path_norm')
    """
    if text.isprintable() and not any(c in text for c in _LOOKALIKES):
        return text
    return "".join(_shown(c) for c in text)


def _shown(c: str) -> str:
    """Return a character as itself, a sign that looks alike, or its number."""
    found = _LOOKALIKES.get(c) or _UNREADABLE.get(c)
    if found or c.isprintable():
        return found or c
    return chr(0x2400 + ord(c)) if ord(c) < 0x20 else f"\u2039{json.dumps(c)[2:-1] if ord(c) > 0x7F else '7f'}\u203a"
