"""Values of options that several commands have."""

from collections.abc import Sequence
from typing import Literal, TypeVar

from measurebench.core.errors import BadInputError

__all__ = ["T", "auto_or_number", "part"]

T = TypeVar("T")


def auto_or_number(text: str, option: str) -> int | Literal["auto"]:
    """Return ``auto`` or a number from 1 on."""
    if text == "auto":
        return "auto"
    if not text.isdigit() or int(text) < 1:
        raise BadInputError(option, "auto or a whole number, at least 1", repr(text))
    return int(text)


def part(items: Sequence[T], shard: str) -> list[T]:
    """Return every N-th item, from the I-th on, for ``I/N``."""
    index, slash, count = shard.partition("/")
    if not (slash and index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise BadInputError("--shard", "I/N with 1 <= I <= N, such as 1/4", repr(shard))
    chosen = list(items[int(index) - 1 :: int(count)])
    if not chosen:
        raise BadInputError("--shard", f"at most {len(items)} parts, there being {len(items)} to share", repr(shard))
    return chosen
