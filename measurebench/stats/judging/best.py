"""Which measure is called the best: one that holds beside the controls, before any that is merely associated."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from measurebench.stats.judging.significance import significant

__all__ = ["HOLDING", "best_first", "holds"]

HOLDING = frozenset(
    {"holds_everywhere", "holds_overall", "holds_undivided", "holds_untested_inside", "between_defenses_only"}
)
"""The verdicts of a measure that is shown over all models and tells more than the training settings do."""


def holds(verdict: str) -> bool:
    """Say whether a verdict means that the measure tells more of the target than the training settings do.

    >>> holds("holds_overall"), holds("tells_settings")
    (True, False)
    """
    return verdict in HOLDING


def best_first(judgements: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the measures of judgements, the best predictor first.

    Measures that hold come before those whose association is shown but does not hold, and these before all others;
    among equals the larger |tau_b| comes first, and a measure without tau_b last.

    >>> rows = [{"measure": "a", "verdict": "tells_settings", "tau_b": 0.7, "p_adjusted": 0.01, "ci_low": 0.6,
    ...          "ci_high": 0.8}, {"measure": "b", "verdict": "holds_overall", "tau_b": -0.3, "p_adjusted": 0.01,
    ...          "ci_low": -0.4, "ci_high": -0.2}]
    >>> best_first(rows)
    ['b', 'a']
    """
    return [str(row["measure"]) for row in sorted(judgements, key=_place)]


def _place(row: Mapping[str, Any]) -> tuple[bool, bool, float]:
    tau = row.get("tau_b")
    size = abs(float(tau)) if tau is not None and np.isfinite(tau) else -1.0
    return not holds(str(row["verdict"])), not significant({**row, "estimate": tau}), -size
