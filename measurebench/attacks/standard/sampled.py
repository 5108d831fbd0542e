"""The sampled evaluation: APGD on every example, FAB-T and Square on a sample of those that withstood it.

The two later attacks rarely break what APGD left and take most of the time. How many they would break is estimated
from the sample, with exact bounds of the hypergeometric distribution.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from measurebench.attacks.standard.streams import uniform
from measurebench.core.errors import BadInputError
from measurebench.core.intervals import Z

__all__ = [
    "LEAST",
    "SampledAccuracy",
    "chosen",
    "sample_size",
    "sampled_accuracy",
    "upper_bound",
]

LEAST = 40  # survivors that are all attacked: a smaller sample says little
_LEVEL = 0.05


def sample_size(m: int, share: float = 0.25) -> int:
    """Return how many of m survivors to attack: this share, at least LEAST, or all where there are fewer.

    Raises BadInputError where the share is outside (0, 1].

    >>> sample_size(30), sample_size(100), sample_size(1000)
    (30, 40, 250)
    """
    if not 0 < share <= 1:
        raise BadInputError("share", "above 0 and at most 1", repr(share))
    return min(m, max(LEAST, math.ceil(share * m)))


def chosen(keys: Tensor, k: int, seed: int) -> Tensor:
    """Return the places of k of the examples with these keys, int64 [k], ascending: those of the least random numbers.

    The numbers depend on key and seed alone, never on an outcome; examples with equal numbers keep their order.
    """
    zeros = torch.zeros(len(keys), dtype=torch.int64, device=keys.device)
    numbers = uniform(keys, zeros, (2,), seed, "standard", "sample", dtype=torch.float64)
    # Two numbers of 24 bits make ties improbable.
    order = (numbers[:, 0] + numbers[:, 1] * 2.0**-24).argsort(stable=True)
    return order[:k].sort().values


def upper_bound(m: int, k: int, b: int) -> int:
    """Return the exact one-sided 95 % bound on how many of m survivors can be broken, where b of k sampled were.

    The largest D for which b or fewer breaks among k have a probability above 5 %. Raises BadInputError where the
    numbers do not fit together.

    >>> upper_bound(50, 12, 0), upper_bound(400, 100, 0)
    (9, 10)
    """
    from scipy.stats import hypergeom

    if not 0 <= b <= k <= m:
        raise BadInputError("sample", "0 <= breaks <= sampled <= survivors", f"{b}, {k}, {m}")
    totals = np.arange(b, m - (k - b) + 1)
    possible = totals[hypergeom.cdf(b, m, totals, k) > _LEVEL]
    return int(possible.max())


@dataclass(frozen=True)
class SampledAccuracy:
    """The estimated accuracy under all four attacks on n examples, and what is known of it.

    ``low`` and ``high`` bound the accuracy on the examples themselves: high is certain, low is exact to 95 %.
    ``standard_error`` and ``population`` (low, high) are of the accuracy on the population that they come from.
    """

    value: float
    low: float
    high: float
    standard_error: float
    population: tuple[float, float]
    n: int
    survivors: int
    sampled: int
    broken: int


def sampled_accuracy(n: int, m: int, k: int, b: int) -> SampledAccuracy:
    """Return the estimate where m of n examples withstood APGD, and b of k sampled ones were broken later.

    The population's interval is by the delta method with (b + 1) / (k + 2) for the share that breaks, so that it is
    not degenerate at b = 0. With no survivors everything is 0. Raises BadInputError where the numbers do not fit.

    >>> sampled_accuracy(n=1000, m=400, k=100, b=0).low
    0.39
    """
    if not 0 <= m <= n or n == 0 or (m > 0 and k == 0):
        raise BadInputError("sample", "survivors among the examples, and a sample of them", f"{m} of {n}, {k}")
    further = m * b / k if k else 0.0
    q, p = (b + 1) / (k + 2), m / n
    variance = (1 - q) ** 2 * p * (1 - p) / n + (p**2 * q * (1 - q) / k if k else 0.0)
    error = math.sqrt(variance)
    value = (m - further) / n
    limits = max(0.0, value - Z * error), min(1.0, value + Z * error)
    low = (m - (upper_bound(m, k, b) if m else 0)) / n
    return SampledAccuracy(value, low, (m - b) / n, error, limits, n, m, k, b)
