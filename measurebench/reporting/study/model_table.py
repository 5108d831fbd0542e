"""The columns of the table of models: labels, formats, groups, and which are shown at first."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from measurebench.core.columns import describe
from measurebench.reporting.html.embedding import number
from measurebench.reporting.html.wording import measure_name, setting_name
from measurebench.reporting.subject.study import Study
from measurebench.reporting.subject.target import value_format
from measurebench.reporting.subject.warned import warning_columns
from measurebench.stats.population.population import level_names

__all__ = ["MAX_LEVELS", "SHOWN_MEASURES", "SHOWN_SETTINGS", "filters", "table_columns"]

_FIRST = {"model_id", "defense", "architecture", "clean_accuracy_test"}
MAX_LEVELS = 12
SHOWN_SETTINGS = 3
SHOWN_MEASURES = 3


def table_columns(study: Study) -> list[dict[str, Any]]:
    """Return every column of the table: key, label, format, group, whether it is shown at first."""
    names = [name for name in study.table.columns if not name.startswith("_")]
    names.sort(key=lambda name: (name != "model_id", _group_order(study, name)))
    first, warnings = _shown(study, names), warning_columns(study.table)
    return [
        {
            "key": name,
            "label": _label(study, name),
            "format": _format(study, name),
            "group": _group(study, name),
            "shown": name in first,
            "title": _title(study, name),
        }
        | ({"warning": warnings[name]} if name in warnings else {})
        for name in names
    ]


def filters(study: Study) -> list[dict[str, Any]]:
    """Return the axes that a reader can filter by, with their levels and how many models each holds."""
    analysis = study.analysis
    axes = list(dict.fromkeys([*([analysis.defense] if analysis.defense else []), *analysis.settings]))
    if "status" in study.table.columns and study.table["status"].nunique() > 1:
        axes.append("status")
    found = []
    for axis in axes:
        levels = Counter(_level(value) for value in study.table[axis])
        if 1 < len(levels) <= MAX_LEVELS:
            ordered = sorted(levels.items(), key=lambda pair: _natural(pair[0][0]))
            shown = [{"level": name, "n": n} | _valued(value) for (name, value), n in ordered]
            found.append({"key": axis, "label": setting_name(axis), "levels": shown})
    return found


def _level(value: Any) -> tuple[str, float | int | None]:
    """Return a level's name, and its number as the page's data holds it where it is one."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        return level_names(pd.Series([value], dtype=object))[0], None
    held = number(value)
    return level_names(pd.Series([held], dtype=object))[0], held


def _valued(value: float | int | None) -> dict[str, float | int]:
    return {} if value is None else {"value": value}


def _natural(text: str) -> tuple[int, float, str]:
    try:
        return (0, float(text), "")
    except ValueError:
        return (1, 0.0, text)


def _shown(study: Study, names: list[str]) -> set[str]:
    varying = [n for n in names if describe(n).role == "setting" and study.table[n].nunique(dropna=False) > 1]
    chosen = {*_FIRST, study.analysis.target, *(study.accuracies or ()), *varying[:SHOWN_SETTINGS]}
    if "status" in names and study.table["status"].nunique() > 1:
        chosen |= {"status"}
    chosen |= {warning for name, warning in warning_columns(study.table).items() if name in chosen}
    return chosen | set(study.ranked[:SHOWN_MEASURES])


def _group(study: Study, name: str) -> str:
    if name in study.analysis.measures:
        return "measures"
    column = describe(name, study.table.columns)
    if column.is_outcome or column.attack or name == study.analysis.target:
        return "accuracies"
    return {"setting": "settings", "measure": "other columns"}.get(column.role, "model")


def _group_order(study: Study, name: str) -> int:
    return ("model", "settings", "accuracies", "measures", "other columns").index(_group(study, name))


def _label(study: Study, name: str) -> str:
    if name in study.analysis.measures:
        return measure_name(name, study.infos)
    return describe(name, study.table.columns).label


def _format(study: Study, name: str) -> str:
    if pd.api.types.is_bool_dtype(study.table[name].dtype) or not pd.api.types.is_numeric_dtype(
        study.table[name].dtype
    ):
        return "text"
    return value_format(name)


def _title(study: Study, name: str) -> str:
    """Return the hint on a header: the unit, or the column's own name."""
    if name in study.infos and study.infos[name].unit:
        return f"{name}, in {study.infos[name].unit}"
    unit = {"points": "percentage points", "percent": "percent"}.get(_format(study, name))
    return f"{name}, in {unit}" if unit else name
