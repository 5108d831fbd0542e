"""A count of the bits of a word, for compiled loops."""

from typing import Any

__all__ = ["ones_in"]


def _ones_in() -> Any:
    from numba.extending import intrinsic

    @intrinsic  # type: ignore[untyped-decorator]
    def ones_in(_: Any, word: Any) -> Any:
        """Return how many bits of a whole number are set."""
        return word(word), lambda _context, builder, _signature, args: builder.ctpop(args[0])

    return ones_in


ones_in = _ones_in()
"""How many bits of a 64-bit word are set; only inside compiled functions."""
