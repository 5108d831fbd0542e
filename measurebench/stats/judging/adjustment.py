"""Corrects p-values for the number of tests: Holm for the primary family, Benjamini-Hochberg for the rest."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from measurebench.core.intervals import ALPHA
from measurebench.stats.judging.significance import ALONE
from measurebench.stats.resampling.draws import Floats
from measurebench.stats.statistics.registry import all_statistics

__all__ = ["PRIMARY", "Levels", "adjusted", "benjamini_hochberg", "common_family", "holm", "realised_levels"]

PRIMARY = "tau_b"


@dataclass(frozen=True)
class Levels:
    """The p-value, before adjustment, at which one more association would be shown.

    ``overall`` is that of tau_b over all models, ``inside`` that inside a defense, and ``alone`` that inside a defense
    where nothing is shown over all models.
    """

    overall: float = ALPHA
    inside: float = ALPHA
    alone: float = ALONE


def adjusted(correlations: pd.DataFrame) -> pd.DataFrame:
    """Return the correlations with p_adjusted filled in.

    The primary family is tau_b over all models, one test per measure: Holm (1979), valid under any dependence.
    tau_a and Spearman over all models restate it and take Holm within their own statistic. The other p-values are
    adjusted by Benjamini-Hochberg (1995) within their family: those of the contract together, but for sign_error_max,
    which restates the errors of sign_error_mean; those of any further statistic by themselves, so that registering one
    moves no other number.
    """
    table = correlations.copy()
    whole = (table["axis"] == "") & table["statistic"].isin([PRIMARY, "tau_a", "spearman"])
    for statistic in (PRIMARY, "tau_a", "spearman"):
        _fill(table, whole & (table["statistic"] == statistic), holm)
    families = table["statistic"].map(_families()).fillna(table["statistic"])
    for family in families[~whole].unique():
        _fill(table, ~whole & (families == family), benjamini_hochberg)
    return table


def common_family(correlations: pd.DataFrame) -> "pd.Series[bool]":
    """Say which rows of the correlations are adjusted together with tau inside the levels of settings: [rows]."""
    families = _families()
    whole = (correlations["axis"] == "") & correlations["statistic"].isin([PRIMARY, "tau_a", "spearman"])
    return (correlations["statistic"].map(families) == families["tau_within"]) & ~whole


def _families() -> dict[str, str]:
    """Return the family of each statistic of the correlations that belongs to one with others."""
    known = [item for _, item in all_statistics().items() if item.table == "correlations" and item.family]
    return {name: item.family for item in known for name in item.names if name not in item.apart}


def _fill(table: pd.DataFrame, chosen: pd.Series, adjust: Callable[[Floats], Floats]) -> None:
    rows = np.flatnonzero(chosen.to_numpy(dtype=bool) & table["p_value"].notna().to_numpy())
    if len(rows):
        table.loc[table.index[rows], "p_adjusted"] = adjust(table["p_value"].to_numpy(dtype=float)[rows])


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


def realised_levels(correlations: pd.DataFrame) -> Levels:
    """Return the levels that the adjustments came to on these correlations, whose ``p_adjusted`` is filled in.

    Holm: where k of m measures are shown, a further one needs a p-value of 0.05 / (m - k). Benjamini-Hochberg: where k
    of m tests are shown, a further one needs 0.05 (k + 1) / m at most. A lower p-value could carry others with it, so
    that this is strict rather than lax. Families without p-values have the level of a single test.
    """
    whole = correlations[(correlations["statistic"] == PRIMARY) & (correlations["axis"] == "")]
    family = correlations[common_family(correlations)]
    overall, within = (rows["p_adjusted"].dropna().to_numpy(dtype=float) for rows in (whole, family))
    left = max(1, len(overall) - int((overall <= ALPHA).sum()))
    return Levels(ALPHA / left, _stepped_up(within, ALPHA), _stepped_up(within, ALONE))


def _stepped_up(p_adjusted: Floats, q: float) -> float:
    """Return the p-value that one more test needs to have an adjusted one of q by Benjamini-Hochberg."""
    return q * min(1.0, (1 + int((p_adjusted <= q).sum())) / max(1, len(p_adjusted)))
