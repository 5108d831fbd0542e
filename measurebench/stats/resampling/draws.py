"""Resamples whole training runs: how often each is drawn in the bootstrap, and who changes places in a permutation."""

import itertools
import math
from functools import lru_cache
from typing import Any

import numpy as np

from measurebench.core.digests import seed_from
from measurebench.stats.resampling.drawn_units import drawn_units
from measurebench.stats.resampling.exchange_kernels import donate, exchange, turn_pairs

__all__ = [
    "NORMAL_FROM",
    "Bools",
    "Bytes",
    "Floats",
    "Ints",
    "Singles",
    "bootstrap_p",
    "bootstrap_weights",
    "bootstrap_weights_double",
    "donations",
    "exchanges",
    "moves",
    "n_permutations",
    "percentile_interval",
    "permutation_p",
    "stream",
]

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]
Singles = np.ndarray[Any, np.dtype[np.float32]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]

NORMAL_FROM = 300
"""From this number of models on, a permutation p-value takes its tail from the normal distribution.

The null distribution of tau is close to normal there, and many permutations of large tables are slow.
"""


def stream(*name: str, seed: int) -> int:
    """Return the seed of the stream of random numbers of this name, for one seed of the analysis.

    Streams have names, not numbers added to the seed, so that no two statistics, strata or seeds share one.

    >>> stream("pi", "defense", seed=0) == stream("pi", "defense", seed=0)
    True
    >>> stream("pi", "defense", seed=0) in (stream("pi", "defense", seed=1), stream("pi", "architecture", seed=0))
    False
    """
    return seed_from("statistics", *name, seed)


@lru_cache(maxsize=4)
def bootstrap_weights(n_units: int, draws: int, seed: int) -> Singles:
    """Return how often each of n_units is drawn with replacement: [draws, n_units], float32, rows sum to n_units.

    The same arguments give the same array, which is read-only and kept for the next caller.
    """
    weights = _drawn_units(n_units, draws, seed).astype(np.float32)
    weights.setflags(write=False)
    return weights


@lru_cache(maxsize=2)
def bootstrap_weights_double(n_units: int, draws: int, seed: int) -> Floats:
    """Return the same weights as float64 [draws, n_units], for products with float64; the last two are kept."""
    weights = _drawn_units(n_units, draws, seed).astype(np.float64)
    weights.setflags(write=False)
    return weights


@lru_cache(maxsize=16)
def _drawn_units(n_units: int, draws: int, seed: int) -> Bytes:
    """Return the counts, in bytes where they fit, so that measures with values on other models find them again."""
    return drawn_units(n_units, draws, seed)


def percentile_interval(draws: Floats, level: float = 0.95, expanded: int = 0) -> tuple[float, float]:
    """Return the percentile interval of bootstrap draws [draws], without those that are undefined.

    With ``expanded``, the number n of units that were resampled, its ends lie further out: resamples of a mean vary
    sqrt((n - 1) / n) times as much as means do, and their quantiles are the normal's instead of Student's (Hesterberg
    2015, "What teachers should know about the bootstrap", expanded percentile interval). NaN where fewer than half of
    the draws are defined, or where all are equal: an interval without width would claim a certainty that resampling
    cannot give.

    >>> [round(end, 3) for end in percentile_interval(np.arange(1001) / 1000)]
    [0.025, 0.975]
    >>> [round(end, 3) for end in percentile_interval(np.arange(1001) / 1000, expanded=12)]
    [0.011, 0.989]
    """
    defined = np.sort(draws[np.isfinite(draws)])
    if len(defined) < max(2, len(draws) / 2) or defined[-1] - defined[0] < 1e-12:
        return float("nan"), float("nan")
    low, high = (1 - level) / 2, (1 + level) / 2
    if expanded:
        low = _expanded(low, expanded)
        high = 1 - low
    return _quantile(defined, low), _quantile(defined, high)


def _expanded(tail: float, n: int) -> float:
    """Return the share of resamples of n units beyond an end that holds the truth beyond it in ``tail`` of tables."""
    from scipy.special import ndtr, stdtrit

    return float(ndtr(math.sqrt(n / (n - 1)) * stdtrit(n - 1, tail)))


def _beyond(share: float, n: int) -> float:
    """Return the tail that ``share`` is the expanded share of."""
    from scipy.special import ndtri, stdtr

    return float(stdtr(n - 1, math.sqrt((n - 1) / n) * ndtri(share)))


def _quantile(ordered: Floats, share: float) -> float:
    """Return np.quantile of values in order [n], with its own rounding, in a tenth of its time."""
    place = (len(ordered) - 1) * share
    k = int(place)
    low, high, part = float(ordered[k]), float(ordered[min(k + 1, len(ordered) - 1)]), place - k
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)


def bootstrap_p(draws: Floats, null: float = 0.0, expanded: int = 0) -> float:
    """Return the two-sided p-value of a null value by inverting the percentile interval of draws [draws].

    Twice the smaller share of draws on one side of the null, with one draw added so that p is never 0. ``expanded``
    inverts the expanded interval of so many units. NaN where the interval is undefined.
    """
    defined = draws[np.isfinite(draws)]
    if len(defined) < max(2, len(draws) / 2) or np.ptp(defined) < 1e-12:
        return float("nan")
    tail = min(np.count_nonzero(defined <= null), np.count_nonzero(defined >= null))
    share = (tail + 1) / (len(defined) + 1)
    return float(min(1.0, 2 * (_beyond(share, expanded) if expanded and share < 0.5 else share)))


def n_permutations(n_models: int, asked: int) -> int:
    """Return how many permutations are drawn: all that were asked for, or at most 200 where the normal tail is used."""
    return asked if n_models < NORMAL_FROM else min(asked, 200)


def permutation_p(statistic: float, permuted: Floats, n_models: int = 0) -> float:
    """Return the two-sided p-value of a statistic among its permutations [draws]; NaN where nothing could be permuted.

    Below 300 models it is (1 + number at least as extreme) / (1 + permutations). From 300 models on the null
    distribution of a rank correlation is close to normal, and its mean and variance alone are taken from the
    permutations, so that p-values are not bounded by the number of draws.
    """
    defined = permuted[np.isfinite(permuted)]
    if not math.isfinite(statistic) or not len(defined) or float(defined.max() - defined.min()) < 1e-12:
        return float("nan")
    if n_models >= NORMAL_FROM:
        from scipy.special import ndtr

        # The mean and standard deviation of numpy, to the last digit, without what its functions do besides.
        mean = np.add.reduce(defined) / len(defined)
        squares = np.add.reduce((defined - mean) ** 2)
        tail = float(2 * ndtr(-abs(statistic - mean) / math.sqrt(squares / (len(defined) - 1))))
        return max(tail, float(np.finfo(np.float64).tiny))
    return float((1 + np.count_nonzero(np.abs(defined) >= abs(statistic) - 1e-12)) / (1 + len(defined)))


def exchanges(strata: Ints, units: Ints, draws: int, seed: int) -> Ints:
    """Return row indices [draws, models] that exchange whole units within strata; identity where nothing can move.

    Two units may change places if they occupy the same strata with as many models in each; their models are
    matched stratum by stratum, in an order of its own in every draw: the order of the rows means nothing.
    """
    order = np.lexsort((np.arange(len(units)), strata, units))
    bounds = np.flatnonzero(np.r_[True, np.diff(units[order]) != 0, True]).tolist()
    ordered, rows = strata[order].tolist(), order.tolist()
    classes: dict[tuple[int, ...], list[list[int]]] = {}
    for start, stop in itertools.pairwise(bounds):
        classes.setdefault(tuple(ordered[start:stop]), []).append(rows[start:stop])
    result, rng = np.tile(np.arange(len(units)), (draws, 1)), np.random.default_rng(seed)
    by_shape: dict[tuple[int, ...], list[tuple[Ints, Singles]]] = {}
    for stratum, found in classes.items():
        if len(found) < 2:
            continue
        own, keys = np.array(found), rng.random((draws, len(found)), dtype=np.float32)
        if len(set(stratum)) == len(stratum):  # nothing to reorder: those of one shape are shuffled together
            by_shape.setdefault(own.shape, []).append((own, keys))
            continue
        sizes = np.tile(np.unique(stratum, return_counts=True)[1], len(own))
        inside = _reordered(sizes, draws, rng).reshape(draws, *own.shape)
        exchange(own[None], np.argsort(keys, axis=1)[None], inside, result)
    for alike in by_shape.values():
        own, keys = np.stack([rows for rows, _ in alike]), np.stack([keys for _, keys in alike])
        exchange(own, np.argsort(keys, axis=2), np.empty((0, *own.shape[1:]), np.int64), result)
    return result


def _reordered(sizes: Ints, draws: int, rng: np.random.Generator) -> Ints:
    """Return places [draws, n] of n things that lie part by part, each part in a random order; ``sizes`` [parts]."""
    n = int(sizes.sum())
    if sizes.max() > 2:
        return np.argsort(np.repeat(np.arange(len(sizes)), sizes) + rng.random((draws, n)), axis=1)
    if sizes.max() == 1:
        return np.tile(np.arange(n), (draws, 1))
    places = np.empty((draws, n), np.int64)
    turn_pairs(rng.integers(0, 2, (draws, len(sizes)), dtype=np.int8), sizes, places)
    return places


def moves(strata: Ints, units: Ints, draws: int, seed: int) -> Ints:
    """Return row indices [draws, models] that move whole units within strata; models of stratum -1 stay.

    Where every unit lies in one stratum, units take each other's values whatever their sizes (``donations``); where
    some lie in several, only units that occupy the same strata alike change places (``exchanges``).
    """
    _, first, own = np.unique(units, return_index=True, return_inverse=True)
    if (strata != strata[first][own]).any():
        return exchanges(strata, units, draws, seed)
    result = np.tile(np.arange(len(units)), (draws, 1))
    for stratum in np.unique(strata[strata >= 0]):
        rows = np.flatnonzero(strata == stratum)
        _donate(rows, units[rows], seed_from("stratum", int(stratum), seed), result)
    return result


def donations(units: Ints, draws: int, seed: int) -> Ints:
    """Return row indices [draws, models] by which whole units take each other's values, whatever their sizes.

    A random order of the units names each one's donor; its models take the donor's in a random order, from the first
    again when the donor has fewer. Where all units are of one size this is an exchange. Exchanging only within sizes
    would leave the differences between sizes in every draw, and find too little where a few runs have more models.

    A fixed order inside the units would keep, in every draw, what the kind of checkpoint does to both: then tau is
    tested against that, its interval against 0, and the p-value depends on the names by which rows are sorted.
    """
    result = np.empty((draws, len(units)), np.int64)
    _donate(np.arange(len(units)), units, seed, result)
    return result


def _donate(rows: Ints, units: Ints, seed: int, result: Ints) -> None:
    """Write the donations among these rows, of these units, [models] each, into ``result`` [draws, n]."""
    order = np.argsort(units, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(units[order]) != 0])
    sizes, rng = np.diff(np.r_[first, len(units)]), np.random.default_rng(seed)
    donors = np.argsort(rng.random((len(result), len(sizes)), dtype=np.float32), axis=1)
    donate(donors, _reordered(sizes, len(result), rng), sizes, first, rows[order], result)
