"""Imports scipy for a command, in which nobody reads the help of scipy's functions."""

from typing import Any

__all__ = ["import_scipy_stats"]


def import_scipy_stats() -> None:
    """Import ``scipy.stats`` without what it adds to its docstrings, which takes a third of the time of its import.

    As scipy is imported, it parses the docstring of each function that array libraries can use, adds a table of these
    libraries and writes it again. Nothing else changes. A scipy that does so no longer, or otherwise, is imported as
    it is.
    """
    try:
        from scipy._lib import _array_api as array_api

        parser = array_api.FunctionDoc
    except (ImportError, AttributeError):
        return
    array_api.FunctionDoc = _Unparsed
    try:
        import scipy.stats  # noqa: F401 - for what it imports
    finally:
        array_api.FunctionDoc = parser


class _Unparsed:
    """The docstring of a function, to which nothing is added: in place of the parser of scipy."""

    def __init__(self, function: Any) -> None:
        self._text = str(function.__doc__ or "")

    def __getitem__(self, _: str) -> list[str]:
        return []

    def __str__(self) -> str:
        return f"\n{self._text}"  # scipy takes the first line away, where its parser writes the signature
