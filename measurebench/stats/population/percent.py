"""Accuracies in percent, told from fractions by their size."""

import numpy as np
import pandas as pd

from measurebench.core.columns import describe

__all__ = ["fractions"]


def fractions(table: pd.DataFrame, target: str) -> tuple[pd.DataFrame, str]:
    """Return the table with accuracies as fractions, and a note where they came in percent.

    Accuracies are in percent where all of them lie between 0 and 100 and the largest of each column is above 1. Gaps
    are divided as well, and a target that is an accuracy or a gap by its name. Otherwise the table comes back as it is.

    >>> table = pd.DataFrame({"pgd_accuracy_test": [48.0, 51.5], "robust_gap_pgd": [10.0, 8.5]})
    >>> fractions(table, "robust_gap_pgd")[0].iloc[0].tolist()
    [0.48, 0.1]
    """
    roles = {name: describe(name, table.columns).role for name in map(str, table.columns)}
    accuracies = {name: pd.to_numeric(table[name], errors="coerce") for name in roles if roles[name] == "outcome"}
    known = [values.dropna() for values in accuracies.values() if values.notna().any()]
    if not known or not all(_is_percent(values) for values in known):
        return table, ""
    gaps = [name for name in roles if roles[name] == "gap"]
    result = table.copy()
    for name in [*accuracies, *gaps]:
        result[name] = pd.to_numeric(table[name], errors="coerce") / 100
    told = f", and {target} with them" if target in gaps else ""
    return result, f"Accuracies lie between 1 and 100 and were taken for percent: they were divided by 100{told}."


def _is_percent(values: "pd.Series[float]") -> bool:
    low, high = float(values.min()), float(values.max())
    return bool(np.isfinite([low, high]).all() and low >= 0 and 1 < high <= 100)
