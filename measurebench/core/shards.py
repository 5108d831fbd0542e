"""Shards of a list: the I-th of N parts, for work that several machines share."""

import re
from collections.abc import Sequence
from typing import TypeVar

from measurebench.core.errors import BadInputError

__all__ = ["T", "parse_shard", "part"]

T = TypeVar("T")


def parse_shard(text: str, subject: str = "shard") -> tuple[int, int]:
    """Return I and N of ``I/N``. Raises BadInputError where the text has another form or I is not in 1 to N.

    >>> parse_shard("2/4")
    (2, 4)
    """
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise BadInputError(subject, "I/N with 1 <= I <= N, such as 1/4", repr(text))
    return int(found[1]), int(found[2])


def part(items: Sequence[T], shard: str, subject: str = "shard") -> list[T]:
    """Return every N-th item, starting with the I-th, for ``I/N``: shards of long and short work stay mixed.

    Raises BadInputError where there are fewer items than parts, so that this one would be empty.

    >>> part(["a", "b", "c", "d", "e"], "1/2")
    ['a', 'c', 'e']
    """
    index, count = parse_shard(shard, subject)
    chosen = list(items[index - 1 :: count])
    if items and not chosen:
        raise BadInputError(subject, f"at most {len(items)} parts", repr(shard), f"only {len(items)} to split")
    return chosen
