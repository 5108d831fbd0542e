"""The error that a broken promise raises, and how promises are run."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from measurebench.core.errors import BadInputError, near_names

__all__ = ["ContractError", "demand", "run_promises"]

C = TypeVar("C")


class ContractError(AssertionError):
    """Something does not keep its contract: ``WHAT breaks the promise that PROMISE: DETAIL``."""

    def __init__(self, what: str, promise: str, detail: str = "") -> None:
        self.what, self.promise, self.detail = what, promise, detail
        super().__init__(f"{what} breaks the promise that {promise}" + (f": {detail}" if detail else ""))


def demand(kept: bool, what: str, promise: str, detail: str = "") -> None:
    """Raise ContractError unless a promise is kept.

    >>> demand(1 == 2, "measure 'm'", "two runs agree", "1 and 2")
    Traceback (most recent call last):
    measurebench.testing.promises.ContractError: measure 'm' breaks the promise that two runs agree: 1 and 2
    """
    if not kept:
        raise ContractError(what, promise, detail)


def run_promises(known: Mapping[str, Callable[[C], None]], asked: Iterable[str] | None, case: C, kind: str) -> None:
    """Check promises one after the other: all of them, or those of these names.

    Raises ContractError at the first that is broken, and BadInputError for a name that no promise has.
    """
    for name in known if asked is None else asked:
        if name not in known:
            raise BadInputError(f"promise of {kind}", ", ".join(known), repr(name), near_names(name, known))
        known[name](case)
