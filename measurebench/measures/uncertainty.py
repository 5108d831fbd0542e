"""Standard errors of estimates other than means: square roots, order statistics, and the jackknife."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from measurebench.core.intervals import Z
from measurebench.measures.value import MeasureValue

__all__ = [
    "OrderStatistic",
    "correlation_error",
    "grouped_jackknife",
    "jackknife_error",
    "order_statistic",
    "percentile_rank",
    "root_mean",
]


def jackknife_error(left_out: Tensor) -> float | None:
    """Return the jackknife standard error from the estimates with one example left out each, [n]; None for n = 1."""
    n = len(left_out)
    if n < 2:
        return None
    return math.sqrt((n - 1) * float(left_out.double().var(correction=0)))


def grouped_jackknife(estimate: Callable[[Tensor], float], keys: Tensor, n_groups: int = 20) -> float | None:
    """Return the delete-a-group jackknife standard error of a statistic (Kott 2001); None for fewer than 2 examples.

    ``estimate`` takes the index int64 [m] of the examples that stay. The groups follow from the rank of each example's
    key, ``keys`` int64 [n], so that the order of the examples does not matter. A group without which the statistic is
    not finite makes the error None.
    """
    n = len(keys)
    if n < 2:
        return None
    n_groups = min(n, n_groups)
    group = keys.argsort().argsort() % n_groups
    left_out = torch.tensor([estimate((group != g).nonzero()[:, 0]) for g in range(n_groups)], dtype=torch.float64)
    error = jackknife_error(left_out)
    return error if error is not None and math.isfinite(error) else None


def root_mean(squares: Tensor, **diagnostics: float | int | str | None) -> MeasureValue:
    """Return the square root of a mean over examples [n], with the delta-method standard error se(mean) / (2 root)."""
    mean = MeasureValue.mean(squares)
    root = math.sqrt(mean.value or 0.0)
    error = mean.standard_error / (2 * root) if mean.standard_error is not None and root > 0 else None
    return MeasureValue(root, error, squares.double().cpu().sqrt(), diagnostics, mean.n).checked()


@dataclass(frozen=True)
class OrderStatistic:
    """The k-th smallest of n values, with a 95 % interval between the order statistics of binomial ranks.

    ``standard_error`` is the width of the interval divided by 2 * 1.96. The smallest and the largest value have no such
    interval; their standard error is that of the jackknife, the distance to the next value. It is None for n = 1.
    """

    value: float
    low: float
    high: float
    standard_error: float | None


def order_statistic(values: Tensor, k: int) -> OrderStatistic:
    """Return the k-th smallest (k from 1 to n) of values [n] with its uncertainty."""
    from scipy.stats import binom

    ordered = values.double().cpu().sort().values
    n = len(ordered)
    value = float(ordered[k - 1])
    if k in (1, n):
        neighbour = float(ordered[min(1, n - 1)] if k == 1 else ordered[n - 2])
        error = (n - 1) / n * abs(value - neighbour) if n > 1 else None
        return OrderStatistic(value, min(value, neighbour), max(value, neighbour), error)
    low = max(1, int(binom.ppf(0.025, n, k / n)))
    high = min(n, int(binom.ppf(0.975, n, k / n)) + 1)
    ends = float(ordered[low - 1]), float(ordered[high - 1])
    return OrderStatistic(value, *ends, (ends[1] - ends[0]) / (2 * Z))


def percentile_rank(n: int, percent: float) -> int:
    """Return the rank k = max(1, floor(percent / 100 * n)) of a percentile among n values.

    >>> percentile_rank(1000, 10), percentile_rank(5, 10)
    (100, 1)
    """
    return max(1, math.floor(percent * n / 100 + 1e-9))  # 1e-9: a product just below a whole number is that number


def correlation_error(concordance: Tensor) -> float | None:
    """Return the standard error of a pairwise coefficient from each example's mean over its partners, [n].

    The coefficient is a U-statistic of order two: its variance is 4 Var(projection) / n (Hoeffding 1948).
    """
    n = len(concordance)
    return 2 * float(torch.std(concordance.double(), correction=1)) / math.sqrt(n) if n > 2 else None
