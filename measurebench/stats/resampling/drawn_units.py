"""Draws units with replacement: the counts that numpy's multinomial draws, from the same stream, in less time."""

import math
from typing import Any

import numpy as np

from measurebench.core.compiled import compiled

__all__ = ["drawn_units"]

A = np.ndarray[Any, Any]

_KNOWN = 4  # probabilities of a binomial that are kept: those of 0 to 3, one of which it gives in 98 of 100 draws
_MOST = 30.0  # numpy draws a binomial of a larger mean in another way
_AT_A_TIME = 2**20  # uniform numbers: 8 MB


def drawn_units(n_units: int, draws: int, seed: int) -> np.ndarray[Any, np.dtype[np.unsignedinteger[Any]]]:
    """Return how often each of n_units is drawn with replacement: [draws, n_units], bytes where they fit.

    >>> drawn_units(3, 2, seed=0).sum(axis=1).tolist()
    [3, 3]
    """
    counts, rest = np.zeros((draws, n_units), np.uint8), np.empty(0)
    rng = np.random.default_rng(seed)
    # Draws left less units left lie within three standard deviations, at most this width, but for a few in a thousand;
    # of very many units not all are kept, since that would take more memory than the counts.
    chances, width = _chances(n_units), min(64, math.ceil(1.5 * math.sqrt(n_units)))
    known = np.zeros((n_units, 2 * width + 2, _KNOWN))
    at_a_time = max(1, _AT_A_TIME // n_units)
    for start in range(0, draws, at_a_time):
        part = counts[start : start + at_a_time]
        rest = np.concatenate([rest, rng.random(max(0, len(part) * (n_units - 1) - len(rest)))])
        used = _draw(rest, chances, known, part)
        if used < 0:
            found = np.random.default_rng(seed).multinomial(n_units, np.full(n_units, 1 / n_units), size=draws)
            return found.astype(np.uint8 if found.max(initial=0) < 2**8 else np.uint64)
        rest = rest[used:]
    return counts


def _chances(n_units: int) -> A:
    """Return the probability of each unit but the last among those not drawn yet, rounded as numpy does."""
    chances, remaining = np.empty(n_units - 1), 1.0
    for unit in range(n_units - 1):
        chances[unit] = (1 / n_units) / remaining
        remaining -= 1 / n_units
    return chances


@compiled
def _draw(uniforms: A, chances: A, known: A, counts: A) -> int:
    """Fill ``counts`` [draws, units], which are zero, and return how many of the ``uniforms`` were used.

    Unit by unit a binomial number of the draws that are left, each by inversion: its probabilities are subtracted from
    a uniform number in turn (Kachitvichyanukul and Schmeiser 1988, algorithm BINV). ``known`` [units, surplus, 4]
    keeps the first of these probabilities for each number of draws left, zero where not needed yet; its last row is of
    numbers too rare to be kept.

    Returns -1 where numpy would go another way: a mean above 30, a count above 255, or a number drawn anew.
    """
    n_units, used = counts.shape[1], 0
    beyond = known.shape[1] - 1
    middle = beyond // 2
    for draw in range(len(counts)):
        left = n_units
        for unit in range(n_units - 1):
            p = chances[unit]
            swapped = p > 0.5
            if swapped:
                p = 1.0 - p
            surplus = left - (n_units - unit) + middle
            if surplus < 0 or surplus >= beyond:
                surplus = beyond
                known[unit, beyond, 0] = 0.0
            if known[unit, surplus, 0] == 0.0:
                if left * p > _MOST:
                    return -1
                known[unit, surplus, 0] = math.exp(left * math.log1p(-p))
                for x in range(1, _KNOWN):
                    before = known[unit, surplus, x - 1]
                    known[unit, surplus, x] = ((left - x + 1) * p * before) / (x * (1.0 - p))
            if used == len(uniforms):
                return -1
            u = uniforms[used]
            used += 1
            # Without a branch for each, since the processor guesses half of them wrong. What is left of the number
            # is below a probability as soon as it is negative. A view of the four would be counted as a reference.
            zero, one = known[unit, surplus, 0], known[unit, surplus, 1]
            two, three = known[unit, surplus, 2], known[unit, surplus, 3]
            second = u - zero
            third = second - one
            fourth = third - two
            x = int(u > zero) + int(second > one) + int(third > two)
            if fourth > three:
                u, x = fourth - three, 4
                chance = ((left - x + 1) * p * three) / (x * (1.0 - p))
                most = min(float(left), left * p + 10.0 * math.sqrt(left * p * (1.0 - p) + 1))
                while u > chance:
                    x += 1
                    if x > most or x > 255:
                        return -1
                    u -= chance
                    chance = ((left - x + 1) * p * chance) / (x * (1.0 - p))
            if x > left:
                return -1
            if swapped:
                x = left - x
            counts[draw, unit] = x
            left -= x
            if left == 0:
                break
        counts[draw, n_units - 1] = left
    return used
