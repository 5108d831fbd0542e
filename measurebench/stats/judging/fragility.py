"""How far measures move between models that differ in one setting and whose gaps cannot be told apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from measurebench.stats.judging.shifts import Shift, surest_shift
from measurebench.stats.population.population import Population
from measurebench.stats.population.target_error import TargetError
from measurebench.stats.resampling.draws import Bools, Floats, Ints
from measurebench.stats.statistics.matching import Matching

__all__ = ["PART", "SAME_SETTINGS", "fragility"]

PART = 0.5
"""A measure has moved if it differs by more than this part of its interquartile range over all models."""

SAME_SETTINGS = "run"
"""The axis of pairs that agree in every setting and differ in the run: another seed."""


def fragility(
    population: Population, matchings: Sequence[Matching], error: TargetError | None, part: float = PART
) -> list[dict[str, Any]]:
    """Return per setting and measure the share of pairs in which the measure moves, of those with close gaps.

    Pairs differ in the setting of ``axis`` alone, or (axis "run") in none. Gaps are close if they differ by less than
    two standard errors of the difference: one pair cannot tell them apart, which does not mean that they are equal.
    ``n_pairs`` counts all pairs, ``n_alike`` those with close gaps in which the measure is known, ``moved`` those of
    them in which it moves. ``shift`` is the mean difference of the gap over the pairs with close gaps, whether or not
    the measure is known, at ``level_to`` less that at ``level_from``; ``surest_shift`` says of which change of the
    setting. Where its interval does not contain 0 the gaps of these pairs differ systematically. Nothing where the
    error of the target is unknown.
    """
    if error is None:
        return []
    se, y = error.standard_error, population.y

    def close(i: Ints, j: Ints) -> Bools:
        return np.asarray(np.abs(y[i] - y[j]) < 2 * np.sqrt(se[i] ** 2 + se[j] ** 2))

    pairs = [(m.axis, m.i, m.j, surest_shift(m, y, close(m.i, m.j))) for m in matchings if len(m.i)]
    pairs += [(SAME_SETTINGS, *_repeated(population), Shift())] if population.levels else []
    least = {name: part * _spread(x) for name, x in population.measures.items()}
    rows = []
    for axis, i, j, shift in pairs:
        alike = close(i, j)
        for name, x in population.measures.items() if len(i) else ():
            known = alike & np.isfinite(x[i]) & np.isfinite(x[j])
            moved = np.abs(x[i] - x[j])[known] > least[name]
            n = int(known.sum())
            share = float(moved.mean()) if n else float("nan")
            rows.append(
                {"measure": name, "axis": axis, "n_pairs": len(i), "n_alike": n, "moved": int(moved.sum())}
                | {"share": share, "part": part}
                | {"level_from": shift.level_from, "level_to": shift.level_to}
                | {"shift": shift.mean, "shift_low": shift.low, "shift_high": shift.high}
            )
    return rows


def _spread(x: Floats) -> float:
    low, high = np.nanquantile(x, [0.25, 0.75]) if np.isfinite(x).any() else (np.nan, np.nan)
    return float(high - low)


def _repeated(population: Population) -> tuple[Ints, Ints]:
    """Return the pairs i < j of models that agree in every setting and belong to different units."""
    coded = [np.unique(names, return_inverse=True)[1] for names in population.levels.values()]
    cell = np.unique(np.stack(coded, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    left, right = [], []
    for rows in (np.flatnonzero(cell == k) for k in np.flatnonzero(np.bincount(cell) > 1)):
        a, b = np.triu_indices(len(rows), 1)
        apart = population.units[rows[a]] != population.units[rows[b]]
        left.append(rows[a[apart]])
        right.append(rows[b[apart]])
    none = np.empty(0, np.int64)
    return np.concatenate([none, *left]), np.concatenate([none, *right])
