"""Compiles loops to machine code, kept on disk for the next start."""

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["compiled", "ones_in"]

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Return the function compiled by numba at its first call; the machine code is kept where a folder can be written.

    numba looks for ``NUMBA_CACHE_DIR``, ``__pycache__`` beside the module, then the user's cache.
    """
    from numba import njit

    try:
        found: F = njit(cache=True)(function)
    except RuntimeError:  # none of these folders can be written
        found = njit()(function)
    return found


def _ones_in() -> Any:
    from numba.extending import intrinsic

    @intrinsic  # type: ignore[untyped-decorator]
    def ones_in(_: Any, word: Any) -> Any:
        """Return how many bits of a whole number are set."""
        return word(word), lambda _context, builder, _signature, args: builder.ctpop(args[0])

    return ones_in


ones_in = _ones_in()
"""How many bits of a 64-bit word are set; only inside compiled functions."""
