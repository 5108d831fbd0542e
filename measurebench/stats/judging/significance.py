"""When an association counts as shown: the one rule of judgements, claims and pages."""

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["ALPHA", "Row", "excludes_zero", "significant"]

ALPHA = 0.05
"""The level of every test and, as 1 - ALPHA, of every interval."""

Row = Mapping[str, Any]


def significant(row: Row) -> bool:
    """Say whether an estimate is distinguishable from no association.

    Its adjusted p is at most 0.05 (0.05 itself counts), and its 95 % interval leaves out 0. Both are asked for: a
    percentile interval of few runs is too narrow, and a permutation test says nothing of how large the association
    is. Where the p-value or the interval is missing (None, NaN, no such key), nothing is shown.

    >>> significant({"p_adjusted": 0.05, "ci_low": 0.1, "ci_high": 0.4})
    True
    >>> significant({"p_adjusted": None, "ci_low": 0.1, "ci_high": 0.4})
    False
    """
    p = row.get("p_adjusted")
    return p is not None and bool(p <= ALPHA) and excludes_zero(row)


def excludes_zero(row: Row) -> bool:
    """Say whether the interval of an estimate lies above or below 0; a missing interval does not.

    >>> excludes_zero({"ci_low": -0.4, "ci_high": -0.1}), excludes_zero({"ci_low": 0.0, "ci_high": 0.1})
    (True, False)
    """
    low, high = row.get("ci_low"), row.get("ci_high")
    if low is None or high is None or not (np.isfinite(low) and np.isfinite(high)):
        return False
    return bool(low > 0 or high < 0)
