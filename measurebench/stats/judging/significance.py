"""When an association counts as shown: the one rule of judgements, claims and pages."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from measurebench.core.intervals import ALPHA
from measurebench.stats.regressions.added import division_t
from measurebench.stats.resampling.draws import NORMAL_FROM, n_permutations
from measurebench.stats.resampling.intervals import is_perfect

__all__ = [
    "ALONE",
    "Row",
    "end_error",
    "end_near_zero",
    "excludes_zero",
    "gain_on_the_edge",
    "level_of",
    "on_the_edge",
    "shown_inside",
    "significant",
    "stands_in_strata",
    "with_tests",
]


ALONE = 0.001
"""The adjusted p-value that a defense must reach where nothing is shown over all models.

tau over all models is tested at 5 %. The defenses are a second way to find something: with four of them, this adds
at most four in a thousand. With 5 % of their own in common, the judgement of a measure without any association was
false in 7 % of tables of 336 models, and with a quarter of a percent each in 5.4 % of tables of 1,344.
"""

# Of the interval's width, at 2,000 draws: that of the 2.5 % quantile of a normal sample.
_END_ERROR = 0.015

Row = Mapping[str, Any]


def significant(row: Row) -> bool:
    """Say whether an estimate is distinguishable from no association.

    Its adjusted p is at most 0.05 (0.05 itself counts), and its 95 % interval leaves out 0. Both are asked for: a
    percentile interval of few runs is too narrow, and a permutation test says nothing of how large the association
    is. Where the p-value or the interval is missing (None, NaN, no such key), nothing is shown. One case is decided
    by p alone: a perfect order, +1 or -1, of so few units that it has no interval.

    >>> significant({"p_adjusted": 0.05, "ci_low": 0.1, "ci_high": 0.4})
    True
    >>> significant({"p_adjusted": None, "ci_low": 0.1, "ci_high": 0.4})
    False
    """
    p = row.get("p_adjusted")
    return p is not None and bool(p <= ALPHA) and (excludes_zero(row) or _is_perfect_without_interval(row))


def shown_inside(row: Row, total: Row | None) -> bool:
    """Say whether the association inside one defense counts, ``total`` being tau over all models.

    A stricter test is asked for (``ALONE``) where none is shown over all models, and that the association stands among
    models of one kind (``stands_in_strata``). The rule of judgements, pages and claims alike.

    >>> inside = {"p_adjusted": 0.03, "ci_low": 0.1, "ci_high": 0.4}
    >>> shown_inside(inside, {"p_adjusted": 0.04, "ci_low": 0.1, "ci_high": 0.2}), shown_inside(inside, None)
    (True, False)
    """
    surely = significant(row) and (row["p_adjusted"] <= ALONE or (total is not None and significant(total)))
    return surely and stands_in_strata(row)


def stands_in_strata(row: Row) -> bool:
    """Say whether tau inside a defense keeps its sign with the settings that divide runs held fixed.

    Its interval must leave out 0; where there is none, the sign decides. True where no such tau is known.

    >>> row = {"estimate": -0.13, "tau_stratified": -0.04, "stratified_low": -0.12, "stratified_high": 0.05}
    >>> stands_in_strata(row), stands_in_strata(row | {"stratified_high": -0.01}), stands_in_strata({"estimate": 0.1})
    (False, True, True)
    """
    tau = row.get("tau_stratified")
    if tau is None or not np.isfinite(tau):
        return True
    ends = _strata(row)
    return bool(tau * row["estimate"] > 0 and (not np.isfinite(list(ends.values())).all() or excludes_zero(ends)))


def _strata(row: Row) -> dict[str, float]:
    """Return the interval of the stratified tau as that of a row."""
    ends = (("ci_low", "stratified_low"), ("ci_high", "stratified_high"))
    return {name: float(row.get(own, float("nan"))) for name, own in ends}


def with_tests(rows: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
    """Return rows of the correlations with what ``tests`` says of them, such as ``n_units``; NaN where it has none."""
    return rows.merge(tests, how="left", on=["measure", "statistic", "axis", "level"], validate="many_to_one")


def _is_perfect_without_interval(row: Row) -> bool:
    estimate, low = row.get("estimate"), row.get("ci_low")
    return estimate is not None and is_perfect(estimate) and (low is None or not np.isfinite(low))


def excludes_zero(row: Row) -> bool:
    """Say whether the interval of an estimate lies above or below 0; a missing interval does not.

    >>> excludes_zero({"ci_low": -0.4, "ci_high": -0.1}), excludes_zero({"ci_low": 0.0, "ci_high": 0.1})
    (True, False)
    """
    low, high = row.get("ci_low"), row.get("ci_high")
    if low is None or high is None or not (np.isfinite(low) and np.isfinite(high)):
        return False
    return bool(low > 0 or high < 0)


def end_error(bootstrap: int) -> float:
    """Return the standard error of an end of a percentile interval, in widths of the interval, from so many draws.

    >>> end_error(2000)
    0.015
    """
    return _END_ERROR * math.sqrt(2000 / bootstrap)


def end_near_zero(row: Row, bootstrap: int) -> bool:
    """Say whether an end of an interval lies within two of its standard errors (``end_error``) of 0.

    >>> end_near_zero({"ci_low": 0.002, "ci_high": 0.4}, 2000), end_near_zero({"ci_low": 0.1, "ci_high": 0.4}, 2000)
    (True, False)
    """
    low, high = float(row["ci_low"]), float(row["ci_high"])
    return min(abs(low), abs(high)) <= 2 * end_error(bootstrap) * (high - low)


def level_of(row: Row, total: Row | None) -> float:
    """Return the adjusted p-value that an association must reach to be shown; see ``shown_inside``.

    >>> level_of({"level": "AT"}, {"p_adjusted": 0.4}), level_of({"level": ""}, None)
    (0.001, 0.05)
    """
    return ALPHA if not row["level"] or (total is not None and significant(total)) else ALONE


def on_the_edge(row: Row, bootstrap: int, permutations: int, n_models: int = 0, alpha: float = ALPHA) -> bool:
    """Say whether another seed might decide otherwise what is shown: an end of the interval, or p, is too near.

    ``alpha`` is the adjusted p-value that must be reached (``level_of``).
    Two standard errors of an end (``end_error``) are near. For p see ``_p_near``. Inside a defense an end of the
    stratified tau counts as well, and where that surely says no, nothing else can.

    >>> on_the_edge({"estimate": 0.2, "ci_low": 0.002, "ci_high": 0.4, "p_adjusted": 0.01}, 2000, 1000)
    True
    >>> on_the_edge({"estimate": 0.2, "ci_low": 0.1, "ci_high": 0.3, "p_adjusted": 0.001}, 2000, 1000)
    False
    """
    p, low, high = row.get("p_adjusted"), row.get("ci_low"), row.get("ci_high")
    if p is None or low is None or high is None or not np.isfinite([p, low, high]).all():
        return False
    strata = _strata(row)
    if np.isfinite(list(strata.values())).all():
        near_strata = end_near_zero(strata, bootstrap)
        if significant(row) and near_strata:
            return True
        if not stands_in_strata(row) and not near_strata:
            return False
    near_end = end_near_zero(row, bootstrap)
    near_p = _p_near(row, permutations, n_models, alpha)
    return bool((near_end and p <= alpha) or (near_p and (excludes_zero(row) or near_end)))


def _p_near(row: Row, permutations: int, n_models: int, alpha: float) -> bool:
    """Say whether the permutations cannot tell on which side of ``alpha`` the adjusted p-value lies.

    The adjustment multiplies p, so the p-value itself is compared with alpha divided by that factor. A p-value that is
    counted is told from it by its 95 % interval as a share (Clopper and Pearson 1934), unless no number of them would
    reach it. One that comes from the normal tail is told by its z, of which the mean and the spread of the permutations
    leave two standard errors open. Where the row does not say (``n_permutations``), p is counted below ``NORMAL_FROM``
    models.
    """
    adjusted, p = float(row["p_adjusted"]), row.get("p_value")
    p = float(p) if p and np.isfinite(p) else adjusted
    bound = alpha / max(1.0, adjusted / p)
    draws, counted = n_permutations(n_models, permutations), row.get("n_permutations")
    if counted is None or not np.isfinite(counted):
        counted = draws if n_models < NORMAL_FROM else 0
    if counted:
        from scipy.stats import binomtest

        draws = int(counted)
        if bound < 1 / (draws + 1):
            return False
        interval = binomtest(round(p * (draws + 1)) - 1, draws).proportion_ci()
        return bool(interval.low <= bound <= interval.high)
    from scipy.special import ndtri

    z, least = -float(ndtri(p / 2)), -float(ndtri(bound / 2))
    return abs(z - least) <= 2 * float(np.sqrt(1 / draws + z**2 / (2 * draws)))


def gain_on_the_edge(added: Row, least: float, bootstrap: int) -> bool:
    """Say whether other divisions into folds, or resamples, may move an end of the gain over what decides.

    The lower end must lie above 0, at the level to which the number of measures brings it. Where it does not, the upper
    end counts, which must lie below ``least``.

    >>> gain = {"gain": 0.08, "ci_low": -0.004, "ci_high": 0.18, "division_error": 0.003, "n_units": 643}
    >>> gain_on_the_edge(gain, 0.1, 2000), gain_on_the_edge(gain | {"ci_low": -0.03}, 0.1, 2000)
    (True, False)
    """
    low, high = added["ci_low"], added["ci_high"]
    if not np.isfinite([low, high]).all() or low == high:
        return False
    of_draws = end_error(bootstrap) * (high - low)
    slack = float(np.hypot(2 * of_draws, division_t(int(added["n_units"])) * added["division_error"]))
    wider = _adjusted_width(added)
    low = added["gain"] - wider * (added["gain"] - low)
    return bool(abs(low) <= wider * slack or (low <= 0 and abs(high - least) <= slack))


def _adjusted_width(added: Row) -> float:
    """Return how many times as wide the interval of a gain is at the level of its adjusted test."""
    p, adjusted = added.get("p_value", 1.0), added.get("p_adjusted", 1.0)
    if not np.isfinite([p, adjusted]).all() or not p > 0:
        return 1.0
    from scipy.special import ndtri

    return float(ndtri(ALPHA / 2 / max(1.0, adjusted / p)) / ndtri(ALPHA / 2))
