"""Multinomial counts of equal chances, number for number those of numpy's generator, in half its time."""

from typing import Any

import numpy as np

from measurebench.stats.resampling.compiled import compiled

__all__ = ["equal_counts"]

A = np.ndarray[Any, Any]

_SMALL = 30.0  # expected successes up to which numpy inverts the distribution function
_AHEAD = 4096  # uniform numbers drawn besides one for each category: a draw that starts again takes another


def equal_counts(rng: np.random.Generator, n: int, draws: int) -> A:
    """Return how often each of n equal categories comes up in n throws: [draws, n], float32.

    The same as ``rng.multinomial(n, np.full(n, 1 / n), size=draws)``, which spends its time on logarithms that are the
    same in every draw. numpy draws each category by inversion (Kachitvichyanukul and Schmeiser 1988); where it would
    take another way, it is called itself.
    """
    counts = np.zeros((draws, n), np.float32)
    if n < 2:
        counts[:] = n
        return counts
    state = rng.bit_generator.state
    left = _left(n)
    if not _fill(counts, left, np.log1p(-np.minimum(left, 1 - left)), rng.random(draws * (n - 1) + _AHEAD)):
        rng.bit_generator.state = state
        return rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float32)
    return counts


def _left(n: int) -> A:
    """Return the chance of each category but the last among those that are left, rounded as numpy does: [n - 1]."""
    chance, left = 1 / n, 1.0
    result = np.empty(n - 1)
    for k in range(n - 1):
        result[k] = chance / left
        left -= chance
    return result


@compiled
def _fill(counts: A, chances: A, logs: A, uniform: A) -> Any:
    """Draw the counts [draws, n] from uniform numbers in turn; say whether numpy would have taken the same way."""
    used, n = 0, counts.shape[1]
    for draw in range(len(counts)):
        left = n
        for k in range(n - 1):
            p = chances[k]
            few = p <= 0.5
            q = 1 - p
            if not few:
                p, q = q, p
                q = 1 - p
            if p * left > _SMALL or used + 2 >= len(uniform):
                return False
            count = 0
            if p > 0:
                first = np.exp(left * logs[k])
                rest, u = first, uniform[used]
                used += 1
                while u > rest:
                    count += 1
                    if count >= 10 and count > min(left, int(left * p + 10.0 * np.sqrt(left * p * q + 1))):
                        return False
                    if count > left:
                        return False
                    u -= rest
                    rest = ((left - count + 1) * p * rest) / (count * q)
            found = count if few else left - count
            counts[draw, k] = found
            left -= found
            if left <= 0:
                break
        if left > 0:
            counts[draw, n - 1] = left
    return True
