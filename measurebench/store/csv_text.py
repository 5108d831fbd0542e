"""Tables as CSV that a spreadsheet can open: no cell of it is a formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from measurebench.core.foreign import for_spreadsheet, from_spreadsheet

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["csv_text", "without_marks"]


def csv_text(table: pd.DataFrame) -> str:
    """Return a table as CSV; texts that a spreadsheet would run, also names of columns, get an apostrophe in front."""
    return _changed(table, for_spreadsheet).to_csv(index=False, lineterminator="\n")


def without_marks(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table that was read from CSV without the apostrophes that ``csv_text`` put before its texts."""
    return _changed(table, from_spreadsheet)


def _changed(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """Return a copy with every text changed; numbers and missing values stay as they are."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    def changed(value: Any) -> Any:
        return change(value) if isinstance(value, str) else value

    copy = table.copy()
    for place, kind in enumerate(table.dtypes):
        if not is_numeric_dtype(kind) and not is_bool_dtype(kind):
            column = table.iloc[:, place]
            if any(value != changed(value) for value in column if isinstance(value, str)):
                copy.isetitem(place, column.astype(object).map(changed).to_numpy())
    copy.columns = table.columns.map(changed)
    return copy
