"""Imports libraries for a command, without parts of them that no command uses."""

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any, cast

__all__ = ["import_scipy_stats", "import_statsmodels"]


def import_scipy_stats() -> None:
    """Import ``scipy.stats`` without what it adds to its docstrings, which takes a third of the time of its import.

    As scipy is imported, it parses the docstring of each function that array libraries can use, adds a table of these
    libraries and writes it again. Nothing else changes. A scipy that does so no longer, or otherwise, is imported as
    it is.
    """
    try:
        array_api: Any = import_module("scipy._lib._array_api")
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


def import_statsmodels() -> None:
    """Import the regressions of statsmodels with one library for formulas instead of two, which takes half of the time.

    Where both are installed, statsmodels asks the other one, patsy, unless told otherwise. No formula is written here.
    """
    skipped = "formulaic" not in sys.modules and find_spec("patsy") is not None
    if skipped:
        cast("dict[str, Any]", sys.modules)["formulaic"] = None  # Python then says that there is no such module
    try:
        import statsmodels.regression.linear_model  # noqa: F401 - for what it imports
    finally:
        if skipped:
            del sys.modules["formulaic"]
