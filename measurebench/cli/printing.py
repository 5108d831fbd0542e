"""Prints text that may come from other people's files: ids, reasons, names of classes.

Such text may hold escape sequences that change the terminal, line breaks that forge messages of ours, or marks that
turn the direction of writing. All of it is shown as an escape, and very long text is cut.
"""

import typer

__all__ = ["printable", "say"]

_LONGEST = 4000


def printable(text: str, longest: int = _LONGEST) -> str:
    r"""Return a text on one line: what is not printable as an escape, what is beyond ``longest`` characters cut off.

    >>> print(printable("net\x1b[2J\nmeasurebench: all measured"))
    net\x1b[2J\nmeasurebench: all measured
    >>> printable("abcdef", 3)
    'abc ... (6 characters)'
    """
    cut = text if len(text) <= longest else f"{text[:longest]} ... ({len(text)} characters)"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def say(text: str, *, err: bool = False) -> None:
    """Print a text as one line on stdout, or on stderr."""
    typer.echo(printable(text), err=err)
