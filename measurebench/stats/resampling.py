"""Resampling of whole training runs: multiplicities for the bootstrap, exchanges for permutation tests."""

from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Singles = np.ndarray[Any, np.dtype[np.float32]]


def bootstrap_weights(units: Ints, draws: int, seed: int) -> Singles:
    """Return how often each model is drawn when whole units are drawn with replacement: [draws, models], float32.

    ``units`` numbers the unit (training run or paper) of each model from 0. Models of one unit always come together.
    """
    n_units = int(units.max()) + 1
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=draws).astype(np.float32)
    return np.asarray(counts[:, units])


def percentile_interval(draws: Floats, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of bootstrap draws, without those that are undefined.

    NaN where fewer than half of the draws are defined, or where all are equal: an interval without width
    would claim a certainty that resampling cannot give.
    """
    defined = draws[np.isfinite(draws)]
    if len(defined) < max(2, len(draws) / 2) or np.ptp(defined) < 1e-12:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_p(draws: Floats, null: float = 0.0) -> float:
    """Return the two-sided p-value of a null by inverting the percentile interval; NaN without defined draws."""
    defined = draws[np.isfinite(draws)]
    if len(defined) < max(2, len(draws) / 2):
        return float("nan")
    tail = min(np.count_nonzero(defined <= null), np.count_nonzero(defined >= null))
    return float(min(1.0, 2 * (tail + 1) / (len(defined) + 1)))


def permutation_p(statistic: float, permuted: Floats) -> float:
    """Return (1 + number at least as extreme) / (1 + permutations), two-sided; NaN for an undefined statistic."""
    defined = permuted[np.isfinite(permuted)]
    if not np.isfinite(statistic) or not len(defined):
        return float("nan")
    return float((1 + np.count_nonzero(np.abs(defined) >= abs(statistic) - 1e-12)) / (1 + len(defined)))


def exchanges(strata: Ints, units: Ints, draws: int, seed: int) -> Ints:
    """Return row indices [draws, models] that exchange whole units within strata; identity where nothing can move.

    Two units may change places if they occupy the same strata with as many models in each; their models are
    matched stratum by stratum, in the order of the rows.
    """
    order = np.lexsort((np.arange(len(units)), strata, units))
    bounds = np.flatnonzero(np.r_[True, np.diff(units[order]) != 0, True])
    members = [order[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    classes: dict[tuple[int, ...], list[Any]] = {}
    for rows in members:
        classes.setdefault(tuple(strata[rows].tolist()), []).append(rows)
    rng = np.random.default_rng(seed)
    result = np.tile(np.arange(len(units)), (draws, 1))
    for blocks in classes.values():
        if len(blocks) > 1:
            rows = np.stack(blocks)
            shuffled = rng.permuted(np.tile(np.arange(len(blocks)), (draws, 1)), axis=1)
            result[:, rows.ravel()] = rows[shuffled].reshape(draws, -1)
    return result
