"""Draws units with replacement, as numpy does."""

from typing import Any

import numpy as np

from measurebench.stats.resampling.compiled import compiled

__all__ = ["draw_units"]

A = np.ndarray[Any, Any]

_NEAR = 64
"""How far the number of units that are left to draw strays from its mean: seldom further."""


@compiled
def draw_units(size: int, chances: A, numbers: A, weights: A) -> int:
    """Draw ``size`` units in every row of ``weights`` [draws, units]; return how many numbers that took.

    ``weights`` holds zeros at first. ``chances`` [units] is that of each unit among those from it on, ``numbers`` are
    uniform random numbers. Each unit has a binomial number of what is left, found by inversion, in the steps and with
    the rounding of numpy's ``multinomial``. The probability of none is kept for the numbers left that come up often.

    Returns -1 where the numbers do not suffice, and where numpy would take another way (more than 30 expected).
    """
    draws, n_units = weights.shape
    logs = np.log1p(-np.minimum(chances, 1 - chances))
    none = np.full((n_units, 2 * _NEAR), -1.0)
    used = 0
    for draw in range(draws):
        left = size
        for unit in range(n_units - 1):
            p = chances[unit]
            is_swapped = p > 0.5
            if is_swapped:
                p = 1 - p
            if used == len(numbers) or left * p > 30:
                return -1
            place = left - (size - unit) + _NEAR
            if 0 <= place < 2 * _NEAR:
                if none[unit, place] < 0:
                    none[unit, place] = np.exp(left * logs[unit])
                probability = none[unit, place]
            else:
                probability = np.exp(left * logs[unit])
            q, u, k = 1 - p, numbers[used], 0
            used += 1
            while u > probability:
                k += 1
                # Beyond this bound, which is 10 at least, numpy takes another number.
                if k > left or (k > 10 and k > left * p + 10 * np.sqrt(left * p * q + 1)):
                    return -1
                u -= probability
                probability = ((left - k + 1) * p * probability) / (k * q)
            if is_swapped:
                k = left - k
            weights[draw, unit] = k
            left -= k
            if left <= 0:
                break
        weights[draw, n_units - 1] = max(left, 0)
    return used
