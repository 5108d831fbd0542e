"""Corrects p-values for the number of tests: Holm for the primary family, Benjamini-Hochberg for the rest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from measurebench.core.intervals import ALPHA
from measurebench.stats.judging.significance import ALONE
from measurebench.stats.resampling.draws import Floats
from measurebench.stats.statistics.registry import all_statistics

__all__ = [
    "PRIMARY",
    "Levels",
    "adjusted",
    "adjusted_gains",
    "as_one_more",
    "benjamini_hochberg",
    "families",
    "holm",
    "realised_levels",
]

PRIMARY = "tau_b"
_WHOLE = (PRIMARY, "tau_a", "spearman")
_INSIDE = "tau_within"


@dataclass(frozen=True)
class Levels:
    """The p-value, before adjustment, at which one more association would be shown.

    ``overall`` is that of tau_b over all models, ``inside`` by defense that inside it, and ``alone`` by defense that
    inside it where nothing is shown over all models.
    """

    overall: float = ALPHA
    inside: Mapping[str, float] = field(default_factory=dict)
    alone: Mapping[str, float] = field(default_factory=dict)


def adjusted(correlations: pd.DataFrame, defense: str | None = None) -> pd.DataFrame:
    """Return the correlations with p_adjusted filled in, each p-value within its family (``families``).

    The primary family is tau_b over all models, one test per measure: Holm (1979), valid under any dependence. tau_a
    and Spearman over all models restate it and take Holm within their own statistic. All others are adjusted by
    Benjamini-Hochberg (1995).
    """
    table = correlations.copy()
    found = families(table, defense)
    whole = (table["axis"] == "") & table["statistic"].isin(_WHOLE)
    for family in found.unique():
        rows = found == family
        _fill(table, rows, holm if whole[rows].all() else benjamini_hochberg)
    return table


def families(correlations: pd.DataFrame, defense: str | None = None) -> "pd.Series[str]":
    """Return the family of each row of the correlations, the tests that are adjusted together: [rows].

    tau inside each level of the ``defense`` is a family of its own, one test per measure: judgements rest on it, and
    among many sure associations of other defenses a false one inside this defense would pass. tau_a, which restates
    tau_b, and sign_error_max, which restates the errors of sign_error_mean, are families of their own, and so is each
    statistic that was registered from outside, so that it moves no other number. The rest of the contract's form one.
    """
    statistic, level = correlations["statistic"].astype(str), correlations["level"].astype(str)
    found = statistic.map(_families()).fillna(statistic)
    whole = (correlations["axis"] == "") & statistic.isin(_WHOLE)
    found = found.mask(whole, "overall " + statistic)
    inside = (statistic == _INSIDE) & (correlations["axis"] == defense)
    return found.mask(inside, "inside " + level)


def _families() -> dict[str, str]:
    """Return the family of each statistic of the correlations that belongs to one with others."""
    known = [item for _, item in all_statistics().items() if item.table == "correlations" and item.family]
    return {name: item.family for item in known for name in item.names if name not in item.apart}


def _fill(table: pd.DataFrame, chosen: "pd.Series[bool]", adjust: Callable[[Floats], Floats]) -> None:
    rows = np.flatnonzero(chosen.to_numpy(dtype=bool) & table["p_value"].notna().to_numpy())
    if len(rows):
        table.loc[table.index[rows], "p_adjusted"] = adjust(table["p_value"].to_numpy(dtype=float)[rows])


def adjusted_gains(
    measures: list[dict[str, Any]], controls: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of what is added with ``p_adjusted`` where whole runs are held out: Holm over the measures.

    A control's is adjusted as that of one more measure would be; those of the measures do not change.
    """
    tested = [k for k, row in enumerate(measures) if row["variant"] == "runs" and np.isfinite(row["p_value"])]
    own = np.array([measures[k]["p_value"] for k in tested])
    by_place = dict(zip(tested, holm(own).tolist(), strict=True))
    found = [row | {"p_adjusted": by_place.get(k, np.nan)} for k, row in enumerate(measures)]
    return found, [row | {"p_adjusted": as_one_more(row["p_value"], own, holm)} for row in controls]


def as_one_more(p: float, others: Floats, adjust: Callable[[Floats], Floats]) -> float:
    """Return p adjusted as one more among the others [n]; NaN stays NaN.

    >>> as_one_more(0.01, np.array([0.02, 0.03]), holm)
    0.03
    """
    return float(adjust(np.r_[others, p])[-1]) if np.isfinite(p) else float("nan")


def holm(p: Floats) -> Floats:
    """Return Holm's adjusted p-values: [n].

    The k-th smallest of n p-values is multiplied by n - k + 1; it is never below the adjusted value of a smaller one,
    and at most 1 (Holm 1979). Equal p-values stay equal. Statsmodels has the same, but calls the garbage collector each
    time.

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    result = np.empty(len(p))
    result[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return result


def benjamini_hochberg(p: Floats) -> Floats:
    """Return p-values [n] adjusted for the false discovery rate (Benjamini and Hochberg 1995): [n].

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    order = np.argsort(p, kind="stable")
    scaled = p[order] / (np.arange(1, len(p) + 1) / len(p))
    result = np.empty(len(p))
    result[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return result


def realised_levels(correlations: pd.DataFrame, defense: str | None = None) -> Levels:
    """Return the levels that the adjustments came to on these correlations, whose ``p_adjusted`` is filled in.

    Holm: where k of m measures are shown, a further one needs a p-value of 0.05 / (m - k). Benjamini-Hochberg: where k
    of m tests are shown, a further one needs 0.05 (k + 1) / m at most. A lower p-value could carry others with it, so
    that this is strict rather than lax. Families without p-values have the level of a single test.
    """
    known = correlations.assign(family=families(correlations, defense)).dropna(subset=["p_adjusted"])
    by_family = {str(name): rows["p_adjusted"].to_numpy(dtype=float) for name, rows in known.groupby("family")}
    overall = by_family.get(f"overall {PRIMARY}", np.empty(0))
    within = {name.removeprefix("inside "): p for name, p in by_family.items() if name.startswith("inside ")}
    left = max(1, len(overall) - int((overall <= ALPHA).sum()))
    inside, alone = ({level: _stepped_up(p, q) for level, p in within.items()} for q in (ALPHA, ALONE))
    return Levels(ALPHA / left, inside, alone)


def _stepped_up(p_adjusted: Floats, q: float) -> float:
    """Return the p-value that one more test needs to have an adjusted one of q by Benjamini-Hochberg."""
    return q * min(1.0, (1 + int((p_adjusted <= q).sum())) / max(1, len(p_adjusted)))
