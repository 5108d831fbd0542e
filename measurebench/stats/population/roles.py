"""Which columns of a table are judged as measures, which are settings, and their values as numbers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from measurebench.core.columns import columns_like, describe, looks_like_outcome
from measurebench.core.errors import BadInputError, near_names
from measurebench.stats.resampling.draws import Floats

__all__ = ["measure_columns", "numbers", "require", "setting_columns", "taken_notes", "unread_columns"]

# The difference of two numbers of this size would leave the range of float64.
_INFINITE = 1e300


def measure_columns(table: pd.DataFrame, target: str, chosen: Sequence[str] | None, others: Sequence[str]) -> list[str]:
    """Return the columns to judge: those chosen, or every numeric column that has no other role.

    Accuracies, gaps and numbers of images are outcomes, of whatever attack: they are judged only where they are named.
    Raises BadInputError for a column that is missing or is the target, and where there is nothing to judge.
    """
    if chosen is None:
        found = [name for name in map(str, table.columns) if _may_be_measure(table, name, {target, *others})]
        if not found:
            raise BadInputError("measures", "at least one numeric column to judge", "none in the table", "name some")
        return found
    if not chosen:
        raise BadInputError("measures", "at least one column", "none")
    for name in dict.fromkeys(chosen):
        require(table, name, "measure")
        if name == target:
            raise BadInputError(f"measure {name!r}", "a column other than the target", "the target itself")
    return list(dict.fromkeys(chosen))


def setting_columns(table: pd.DataFrame, chosen: Sequence[str] | None, defense: str) -> list[str]:
    """Return the settings: those chosen, or ``setting_*``, names such as lr or seed, and architecture; and the defense.

    The defense is among them where the table has it.
    """
    if chosen is None:
        names = [str(n) for n in table.columns if describe(str(n)).role == "setting"]
        architecture = columns_like(map(str, table.columns), "architecture")[:1]
        return list(dict.fromkeys([*names, *architecture, *([defense] if defense in table.columns else [])]))
    for name in chosen:
        require(table, name, "setting")
    return list(dict.fromkeys([*chosen, *([defense] if defense in table.columns else [])]))


def require(table: pd.DataFrame, name: str, role: str) -> None:
    """Raise BadInputError unless the table has this column."""
    if name not in table.columns:
        hint = near_names(name, map(str, table.columns)) or f"the table has {_listed(table)}"
        raise BadInputError(f"{role} {name!r}", "a column of the table", "no such column", hint)


def numbers(table: pd.DataFrame, name: str, role: str) -> Floats:
    """Return a column as float64 [n], NaN for what is missing or infinite (above 1e300 in size).

    Raises BadInputError, which names the first one, where the column holds text that is no number.
    """
    column = table[name]
    values = pd.to_numeric(column, errors="coerce")
    wrong = values.isna() & column.notna()
    if column.dtype == object or isinstance(column.dtype, pd.StringDtype):
        wrong &= column.astype(str).str.strip() != ""
    if wrong.any():
        first = column[wrong].iloc[0]
        raise BadInputError(f"{role} {name!r}", "numbers", repr(first), "leave a missing value empty")
    result = values.astype("float64").to_numpy(copy=True)
    result[~(np.abs(result) < _INFINITE)] = np.nan
    return np.asarray(result, dtype=np.float64)


def taken_notes(table: pd.DataFrame, others: Sequence[str], axes: Sequence[str]) -> list[str]:
    """Return notes on columns of numbers that are judged nowhere since their names tell otherwise.

    These are settings of training that are not called ``setting_*``, accuracies under other names, and empty columns.
    """
    names = list(map(str, table.columns))
    numeric = [name for name in names if pd.api.types.is_numeric_dtype(table[name].dtype) and name not in set(others)]
    settings = [n for n in axes if describe(n).role == "setting" and not n.startswith("setting_")]
    measures = [name for name in numeric if describe(name, names).role == "measure"]
    groups = {
        "taken for settings of training, not judged": settings,
        "taken for accuracies or gaps, not judged": [n for n in measures if looks_like_outcome(n)],
        "empty, not judged": [n for n in measures if table[n].isna().all()],
    }
    return [f"Columns {what}: {', '.join(found)}; --measures names others." for what, found in groups.items() if found]


def unread_columns(table: pd.DataFrame, others: Sequence[str]) -> list[str]:
    """Return a note for every column that might be a measure, but holds text where most entries are numbers.

    Decimal commas count as numbers that cannot be read. ``others`` are columns that are taken for something else.
    """
    notes = []
    for name in map(str, table.columns):
        kind = table[name].dtype
        if name in others or describe(name, table.columns).role != "measure" or pd.api.types.is_numeric_dtype(kind):
            continue
        entries = table[name].dropna().astype(str).str.strip()
        entries = entries[entries != ""]
        plain = pd.to_numeric(entries, errors="coerce").notna()
        comma = ~plain & entries.str.fullmatch(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
        wrong = entries[~plain]
        if len(wrong) and (plain | comma).mean() > 0.5:
            hint = "write decimals with a point" if comma.any() else "leave a missing value empty"
            notes.append(
                f"Column {name} was not judged: {len(wrong)} of {len(entries)} entries are no numbers, such as "
                f"{wrong.iloc[0]!r}; {hint}."
            )
    return notes


def _may_be_measure(table: pd.DataFrame, name: str, others: set[str]) -> bool:
    if name in others or describe(name, table.columns).role != "measure" or looks_like_outcome(name):
        return False
    if table[name].isna().all():
        return False
    kind = table[name].dtype
    return pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)


def _listed(table: pd.DataFrame, limit: int = 12) -> str:
    names = [str(n) for n in table.columns]
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
