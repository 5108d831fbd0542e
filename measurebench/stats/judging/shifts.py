"""Whether the target moves in one direction between models that differ in one setting alone."""

from dataclasses import dataclass

import numpy as np

from measurebench.core.intervals import ALPHA
from measurebench.stats.resampling.draws import Bools, Floats, Ints
from measurebench.stats.resampling.intervals import FEW_UNITS
from measurebench.stats.statistics.estimates import NAN
from measurebench.stats.statistics.matching import Matching

__all__ = ["Shift", "surest_shift"]


@dataclass(frozen=True)
class Shift:
    """The mean difference of the target, at ``level_to`` less that at ``level_from``, with its 95 % interval."""

    level_from: str = ""
    level_to: str = ""
    mean: float = NAN
    low: float = NAN
    high: float = NAN


def surest_shift(match: Matching, y: Floats, chosen: Bools) -> Shift:
    """Return the shift of the target y [n] in that change of levels of one setting in which it is surest.

    Of the pairs of ``match``, those ``chosen`` [pairs] are averaged by change. The surest change has the largest mean
    in standard errors. Pairs that share a run, directly or through others, count as one comparison: the standard error
    is clustered by these, with a t distribution. Its interval is widened by Bonferroni's correction for the number of
    changes that were compared. A change with fewer than 12 comparisons has a mean and no interval, and is returned only
    where no other has one: the one with the most pairs then. An empty shift where no pair is chosen.
    """
    low, high = match.low[chosen], match.high[chosen]
    difference, component = (y[match.j] - y[match.i])[chosen], match.component[chosen]
    changes = [(low == a) & (high == b) for a, b in np.unique(np.stack([low, high], axis=1), axis=0)]
    if not changes:
        return Shift()
    found = [(inside, *_mean_and_error(difference[inside], component[inside])) for inside in changes]
    judged = [each for each in found if each[2] > 0]
    if judged:
        inside, mean, error, n = max(judged, key=lambda each: abs(each[1]) / each[2])
        half = error * _t_quantile(1 - ALPHA / 2 / len(judged), n - 1)
    else:
        inside, mean, *_ = max(found, key=lambda each: np.count_nonzero(each[0]))
        half = NAN
    first = int(np.flatnonzero(inside)[0])
    return Shift(match.levels[low[first]], match.levels[high[first]], mean, mean - half, mean + half)


def _mean_and_error(values: Floats, component: Ints) -> tuple[float, float, int]:
    """Return the mean of values [pairs], its clustered standard error and the number of clusters.

    The error is NaN for fewer than 12 clusters, and 0 where all values agree.
    """
    mean = float(values.mean())
    components, inner = np.unique(component, return_inverse=True)
    n = len(components)
    if n < FEW_UNITS:
        return mean, NAN, n
    squares = float((np.bincount(inner, values - mean) ** 2).sum())
    return mean, float(np.sqrt(squares * n / (n - 1))) / len(values), n


def _t_quantile(share: float, freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(share, freedom))
