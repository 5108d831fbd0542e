"""Intervals of a rank correlation where the bootstrap alone would mislead: perfect orders, and few units."""

import numpy as np

from measurebench.core.intervals import ALPHA
from measurebench.stats.resampling.draws import Floats, percentile_interval

__all__ = ["FEW_UNITS", "checked_interval", "is_perfect", "perfect_interval", "rank_interval", "why_no_interval"]

FEW_UNITS = 12
"""Below this number of units the bootstrap is not trusted blindly: the units that a draw repeats weigh too much.

From 12 units on, intervals of tau and of partial tau hold the truth about as often as they say
(benchmarks/results/coverage.md).
"""


def is_perfect(estimate: float) -> bool:
    """Say whether a rank correlation is 1 or -1, apart from rounding.

    >>> is_perfect(-1.0), is_perfect(0.99)
    (True, False)
    """
    return bool(abs(estimate) >= 1 - 1e-12)


def perfect_interval(sign: float, n_comparisons: int) -> tuple[float, float]:
    """Return the 95 % interval of a correlation of 1 (``sign`` +1) or -1 from independent comparisons.

    Every resample of a perfect order is perfect, so that the bootstrap has no interval. But k comparisons that share
    no unit are independent, and all were concordant. The probability of a concordant pair is then at least
    0.025^(1/k) (Clopper and Pearson 1934), and tau is twice that minus one. NaN where that does not exclude 0
    (k below 6): such an interval would say nothing.

    >>> [round(end, 3) for end in perfect_interval(1, 30)]
    [0.769, 1.0]
    """
    low = 2 * (ALPHA / 2) ** (1 / n_comparisons) - 1 if n_comparisons > 0 else -1.0
    if low <= 0:
        return float("nan"), float("nan")
    return (low, 1.0) if sign > 0 else (-1.0, -low)


def rank_interval(estimate: float, draws: Floats, n_units: int, p: float) -> tuple[float, float, str]:
    """Return the 95 % interval of a tau from its bootstrap draws [draws] of so many units, and why there is none.

    A perfect order has the interval of ``perfect_interval`` from n_units / 2 disjoint pairs of units. With fewer than
    12 units, an interval that ends at or beside the estimate is withheld: so few units have too few resamples on one
    side of it. So is one that the p-value contradicts (``checked_interval``). NaN where there is no interval.
    """
    if is_perfect(estimate):
        return checked_interval(*perfect_interval(estimate, n_units // 2), estimate, n_units, p)
    low, high = percentile_interval(draws)
    if n_units < FEW_UNITS and not low + 1e-12 < estimate < high - 1e-12:
        low = high = float("nan")
    return checked_interval(low, high, estimate, n_units, p)


def checked_interval(low: float, high: float, estimate: float, n_units: int, p: float) -> tuple[float, float, str]:
    """Return an interval, or NaN and the reason where there is none or the permutations contradict it.

    With fewer than 12 units, an interval that excludes 0 is withheld unless the permutation p-value ``p`` is at most
    0.05. The bootstrap needs this check: a measure of two values that separates four units has the same tau in most
    resamples. In simulations of such measures without any association, intervals of tau excluded 0 in up to a quarter
    of tables, those of Spearman's rho and of pi in up to two fifths.

    >>> checked_interval(0.63, 0.89, 0.745, 4, 0.333)[:2]
    (nan, nan)
    >>> checked_interval(0.63, 0.89, 0.745, 8, 0.02)
    (0.63, 0.89, '')
    """
    if np.isnan(low):
        return low, high, why_no_interval(estimate, n_units)
    if n_units < FEW_UNITS and (low > 0 or high < 0) and not p <= ALPHA:
        found = f"p = {p:.2g}" if np.isfinite(p) else "there is no p-value"
        reason = f"{n_units} units are too few for an interval: their resamples exclude 0, but {found}"
        return float("nan"), float("nan"), reason
    return low, high, ""


def why_no_interval(estimate: float, n_units: int) -> str:
    """Say why a rank correlation of so many units has no interval."""
    if np.isfinite(estimate) and is_perfect(estimate):
        return f"the order of {n_units} units is perfect: its p-value decides, since every resample is perfect as well"
    if n_units < FEW_UNITS:
        return f"{n_units} units are too few for an interval: their resamples all agree or lie on one side"
    return f"{n_units} units resample to no interval: all draws agree or too few are defined"
