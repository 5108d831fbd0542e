"""Embeds data in a page: by column, escaped, and with the same bytes for the same numbers."""

import json
import math
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["DIGITS", "columns", "number", "script_json"]

DIGITS = 9  # float32 values survive nine significant digits, and no chart shows more


def script_json(value: Any) -> str:
    """Return JSON that is safe inside ``<script type="application/json">``: it has no ``<``, ``>`` or ``&``.

    Raises ValueError for numbers that are not finite, which JSON does not have.

    >>> print(script_json({"name": "</script>"}))
    {"name":"\\u003c/script\\u003e"}
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def columns(table: pd.DataFrame, digits: int = DIGITS) -> dict[str, Any]:
    """Return a table as ``{"n": rows, "columns": {name: values}}``.

    Numbers keep ``digits`` significant digits; a column of repeated texts becomes ``{"levels": [...], "codes":
    [...]}``; a missing value is null (code -1).

    >>> columns(pd.DataFrame({"defense": ["AT", "AT", None, "AT"], "tau": [0.5, 1.0, None, 0.25]}))["columns"]
    {'defense': {'levels': ['AT'], 'codes': [0, 0, -1, 0]}, 'tau': [0.5, 1, None, 0.25]}
    """
    return {"n": len(table), "columns": {str(name): _column(table[name], digits) for name in table.columns}}


def _column(column: "pd.Series[Any]", digits: int) -> Any:
    if pd.api.types.is_bool_dtype(column.dtype) or not pd.api.types.is_numeric_dtype(column.dtype):
        return _texts([None if _missing(value) else _plain(value, digits) for value in column.tolist()])
    return [number(value, digits) for value in column.tolist()]


def _texts(values: list[Any]) -> Any:
    """Encode repeated texts by level; a column whose texts rarely repeat stays a plain list."""
    if any(not isinstance(value, (str, type(None))) for value in values):
        return values
    levels = list(dict.fromkeys(value for value in values if value is not None))
    if len(levels) * 2 > len(values):
        return values
    codes = {level: code for code, level in enumerate(levels)}
    return {"levels": levels, "codes": [-1 if value is None else codes[value] for value in values]}


def number(value: Any, digits: int = DIGITS) -> float | int | None:
    """Return a number rounded to significant digits, whole numbers as integers, None for what is not finite.

    >>> number(0.123456789123), number(3.0), number(float("inf"))
    (0.123456789, 3, None)
    """
    if _missing(value) or not math.isfinite(value):
        return None
    rounded = float(f"{float(value):.{digits}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def _plain(value: Any, digits: int) -> Any:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, float, np.number)):
        return number(value, digits)
    return str(value)


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))
