"""Names that charts can draw: the one door between text from files and the specifications of charts."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import pandas as pd

from measurebench.core.foreign import for_chart

__all__ = ["drawable"]

T = TypeVar("T")


def drawable(value: T) -> T:
    """Return a table, an analysis or any nested value with every text, also names of columns, as charts can hold it.

    Usual names stay as they are (``core.foreign.for_chart``); numbers and missing values do, too.

    >>> drawable({"measure": ["path_norm", "spec\\nnorm"], "n": 3})
    {'measure': ['path_norm', 'spec␤norm'], 'n': 3}
    """
    return _changed(value)  # type: ignore[no-any-return]


def _changed(value: Any) -> Any:
    if isinstance(value, str):
        return for_chart(value)
    if isinstance(value, pd.DataFrame):
        return _table(value)
    if isinstance(value, Mapping):
        return {_changed(key): _changed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_changed, value)) if type(value) in (list, tuple) else value
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{item.name: _changed(getattr(value, item.name)) for item in fields(value) if item.init})
    return value


def _table(table: pd.DataFrame) -> pd.DataFrame:
    copy = table.copy()
    for place, kind in enumerate(table.dtypes):
        if not pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind):
            values = [_changed(value) for value in table.iloc[:, place]]
            if any(new is not old for new, old in zip(values, table.iloc[:, place], strict=True)):
                copy.isetitem(place, pd.Series(values, index=table.index, dtype=object).to_numpy())
    copy.columns = table.columns.map(_changed)
    return copy
