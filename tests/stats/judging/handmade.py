"""Analyses written by hand: every rule of the judging half on numbers that are known."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from measurebench.stats import Analysis
from measurebench.stats.analysis import CORRELATIONS, LEVELS

NAN = float("nan")


def row(
    measure: str,
    statistic: str,
    estimate: float,
    *,
    axis: str = "",
    level: str = "",
    half: float = 0.1,
    p: float | None = 0.001,
    n: int = 40,
) -> dict[str, Any]:
    """Return a correlation with an interval of this half width around it."""
    return {
        "measure": measure,
        "target": "robust_gap_pgd",
        "statistic": statistic,
        "axis": axis,
        "level": level,
        "n_models": n,
        "n_pairs": n * (n - 1) // 2,
        "estimate": estimate,
        "ci_low": estimate - half,
        "ci_high": estimate + half,
        "p_value": p,
        "p_adjusted": p,
    }


def total(measure: str, estimate: float, **parts: Any) -> dict[str, Any]:
    """Return tau_b over all models."""
    return row(measure, "tau_b", estimate, n=80, **parts)


def inside(measure: str, level: str, estimate: float, **parts: Any) -> dict[str, Any]:
    """Return tau inside one defense."""
    return row(measure, "tau_within", estimate, axis="defense", level=level, **parts)


def held(measure: str, estimate: float, axis: str = "z", **parts: Any) -> dict[str, Any]:
    """Return a partial tau."""
    return row(measure, "residual_tau", estimate, axis=axis, **parts)


def level(name: str, reliability: float = 0.8, *, axis: str = "defense", units: int = 20) -> dict[str, Any]:
    """Return what is known of one level of a setting."""
    return {"axis": axis, "level": name, "n_models": 2 * units, "n_units": units, "reliability": reliability}


def analysis(
    *rows: dict[str, Any],
    defense: str | None = "defense",
    target: str = "robust_gap_pgd",
    levels: Sequence[dict[str, Any]] = (),
) -> Analysis:
    """Return an analysis of these correlations, and of what is known of the levels."""
    table = pd.DataFrame(list(rows), columns=list(CORRELATIONS))
    measures = tuple(dict.fromkeys(table["measure"]))
    known = pd.DataFrame(list(levels), columns=list(LEVELS))
    return Analysis(target, measures, ("defense",), defense, "run", 80, 80, table, levels=known)
