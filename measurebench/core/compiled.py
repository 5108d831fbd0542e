"""Compiles loops to machine code, kept on disk for the next start."""

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["compiled"]

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
