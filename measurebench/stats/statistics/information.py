"""Conditional mutual information between the order of a measure and the order of the target."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from measurebench.stats.resampling.concordance import ranks_of
from measurebench.stats.resampling.draws import Floats, Ints, Singles
from measurebench.stats.resampling.pair_counts import tie_sizes
from measurebench.stats.statistics.estimates import NAN, Estimate, Sample
from measurebench.stats.statistics.registry import Asked, statistic

__all__ = ["MAX_CELLS", "Cells", "conditional_information", "information"]

_AT_A_TIME = 256  # models, each beside all others, so that the comparisons stay in the cache
MAX_CELLS = 128  # a set with more cells leaves too few pairs in each for a plug-in estimate


@dataclass(frozen=True)
class Cells:
    """For every set of at most two settings the cell of each model, as columns [start:stop] of one indicator."""

    names: list[str]
    bounds: list[tuple[int, int]]
    indicator: Singles

    @classmethod
    def of(cls, settings: Mapping[str, Ints], n: int) -> "Cells":
        """Number the combinations of ``settings`` (each model's level, [n]); a set of over 128 cells is left out."""
        names, bounds, blocks, width = [], [], [], 0
        for axes in [(), *((a,) for a in settings), *itertools.combinations(settings, 2)]:
            key = np.zeros(n, np.int64)
            for axis in axes:
                key = key * (int(settings[axis].max()) + 1) + settings[axis]
            found, cell = np.unique(key, return_inverse=True)
            if len(found) <= MAX_CELLS:
                names.append(" + ".join(axes))
                bounds.append((width, width + len(found)))
                blocks.append((cell[:, None] == np.arange(len(found))).astype(np.float32))
                width += len(found)
        return cls(names, bounds, np.concatenate(blocks, axis=1))


@statistic(
    "cmi",
    title="Conditional mutual information",
    explanation="How much the order of the measure says about the order of the target, whatever two settings are held "
    "fixed; axis names those with which it says least.",
    axes="setting",
    table="supplement",
    place=30,
)
def information(sample: Sample, asked: Asked) -> list[Estimate]:
    """Return the conditional mutual information of measure and target."""
    return [conditional_information(sample, asked.shared(_cells), asked.shared(_below))]


def _cells(asked: Asked) -> Cells:
    rows, levels = asked.cohort.rows, asked.population.levels
    settings = {axis: np.unique(names, return_inverse=True)[1][rows] for axis, names in levels.items()}
    return Cells.of(settings, len(rows))


def _below(asked: Asked) -> Singles:
    return _smaller(asked.cohort.rank_y, asked.shared(_cells).indicator)


def conditional_information(sample: Sample, cells: Cells, below: Singles | None = None) -> Estimate:
    """Return K = min over sets S of at most two settings of I(V_x; V_y | U_S) / H(V_y | U_S) (Jiang et al. 2020).

    V is the sign of the difference over pairs of models, U_S the settings in S of both models; plug-in
    estimates over ordered pairs that differ in both, in [0, 1]. The axis of the result names the minimising set. A
    plug-in estimate has no interval here: it is biased upwards where few pairs share their settings. ``below`` [n,
    cells] counts the models of smaller y, cell by cell, where the caller has it.
    """
    point, rank, rank_y = sample.point, ranks_of(sample.x), sample.cohort.rank_y
    both = rank * sample.n + rank_y
    tied_in_both = float((tie_sizes(both.astype(np.float64)) ** 2.0).sum())
    pairs = int(point.total[0] - point.ties_x[0] - point.ties_y[0] + tied_in_both) // 2
    if sample.flaw or not pairs:
        reason = sample.flaw or "no pair differs in both"
        return Estimate("cmi", "", "", sample.n, pairs, NAN, reason=reason)
    below = _smaller(rank_y, cells.indicator) if below is None else below
    agree, disagree = _above(rank, rank_y, cells.indicator, below)
    values = []
    for start, stop in cells.bounds:
        inside = cells.indicator[:, start:stop].T
        values.append(_normalised(inside @ agree[:, start:stop], inside @ disagree[:, start:stop]))
    best = int(np.argmin(values))
    reason = "a plug-in estimate; no interval and no test"
    return Estimate("cmi", cells.names[best], "", sample.n, pairs, float(values[best]), reason=reason)


def _smaller(y: Ints, indicator: Singles) -> Singles:
    """Count for each model, cell by cell, the models of smaller y [n]: [n, cells]."""
    return _counted(np.zeros(len(y), np.int64), y, indicator)


def _counted(x: Ints, y: Ints, indicator: Singles) -> Singles:
    """Count for each model, cell by cell, the models of smaller y whose x is smaller too, or 0: [n, cells].

    The models are taken by their y, so that only those before one are compared with it. Whole numbers, and exact.
    """
    order = np.argsort(y, kind="stable")
    x, y, indicator = x[order].astype(np.int32), y[order].astype(np.int32), indicator[order]
    counts = np.empty(indicator.shape, np.float32)
    for start in range(0, len(y), _AT_A_TIME):
        stop = min(start + _AT_A_TIME, len(y))
        smaller = y[start:stop, None] > y[:stop]
        if x.any():
            smaller &= x[start:stop, None] > x[:stop]
        counts[order[start:stop]] = smaller.astype(np.float32) @ indicator[:stop]
    return counts


def _above(x: Ints, y: Ints, indicator: Singles, below: Singles) -> tuple[Singles, Singles]:
    """Count for each model, cell by cell, the models of smaller y with smaller x, and with larger x: [n, cells].

    ``below`` [n, cells] counts those of smaller y, x and y [n] are ranks. The counts are whole numbers and exact.
    """
    agree = _counted(x, y, indicator)
    disagree = below - agree
    x, y = x.astype(np.int32), y.astype(np.int32)
    shared = np.flatnonzero(np.bincount(x)[x] > 1)
    beside = indicator[shared]
    for start in range(0, len(shared), _AT_A_TIME):
        own = shared[start : start + _AT_A_TIME]
        equal = (x[own, None] == x[shared]) & (y[own, None] > y[shared])
        disagree[own] -= equal.astype(np.float32) @ beside
    return agree, disagree


def _normalised(agree: Any, disagree: Any) -> float:
    """Return I / H from counts per pair of cells: x and y up together, and y up where x goes down."""
    joint = np.stack([agree, disagree, disagree.T, agree.T]).astype(np.float64)
    total = joint.sum(axis=0)
    y_up, x_up = joint[0] + joint[1], joint[0] + joint[2]
    h_y = _entropy(np.stack([y_up, total - y_up]))
    h_x = _entropy(np.stack([x_up, total - x_up]))
    overall = total.sum()
    conditional = ((h_x + h_y - _entropy(joint)) * total).sum() / overall
    entropy = (h_y * total).sum() / overall
    return float(max(0.0, conditional) / entropy) if entropy > 1e-12 else np.inf


def _entropy(counts: Floats) -> Floats:
    """Return the entropy over the first axis in nats; 0 for an empty cell."""
    total = np.maximum(counts.sum(axis=0), 1e-300)
    share = counts / total
    return np.asarray(-(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=0))
