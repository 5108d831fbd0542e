"""What may stand for a setting or an argument in a file: values that JSON, TOML and every kind of table can hold."""

import math
from typing import Any

__all__ = ["plain_value"]

_NESTED = 8  # depth of lists and tables; a file may be deep enough to exhaust the stack


def plain_value(value: Any, depth: int = 0) -> Any:
    """Return a value that is text, a finite number of 64 bits, a truth value, or a list or table of such values.

    Raises ValueError, which says what was expected, for anything else: dates, NaN, integers that no table holds.

    >>> plain_value({"width": 16, "names": ["a", "b"]})
    {'width': 16, 'names': ['a', 'b']}
    """
    if isinstance(value, list | tuple | dict):
        if depth == _NESTED:
            raise ValueError(f"values nested at most {_NESTED} deep")
        for item in value.values() if isinstance(value, dict) else value:
            plain_value(item, depth + 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a finite number")
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueError("a whole number of at most 64 bits")
    elif not isinstance(value, str):
        raise ValueError("text, a number, a truth value, a list or a table")  # noqa: TRY004 - callers catch one class
    return value
