"""Conditional mutual information between the order of a measure and the order of the target."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from measurebench.stats.resampling.cell_kernels import pairs_by_cell
from measurebench.stats.resampling.concordance import ranks_of
from measurebench.stats.resampling.draws import Floats, Ints
from measurebench.stats.resampling.pair_counts import tie_sizes
from measurebench.stats.statistics.estimates import NAN, Estimate, Sample
from measurebench.stats.statistics.registry import Asked, statistic

__all__ = ["MAX_CELLS", "Cells", "Lower", "conditional_information", "information"]

MAX_CELLS = 128  # a set with more cells leaves too few pairs in each for a plug-in estimate


@dataclass(frozen=True)
class Cells:
    """For every set of at most two settings, ``names``, the cell of each model: ``own`` [sets, n], of ``sizes`` [sets].

    Pairs are counted in one table for each set, [cells, cells], of which ``starts`` [sets + 1] are the places.
    """

    names: list[str]
    own: Ints
    sizes: Ints
    starts: Ints

    @classmethod
    def of(cls, settings: Mapping[str, Ints], n: int) -> "Cells":
        """Number the combinations of ``settings`` (each model's level, [n]); a set of over 128 cells is left out."""
        names, own, sizes = [], [], []
        for axes in [(), *((a,) for a in settings), *itertools.combinations(settings, 2)]:
            key = np.zeros(n, np.int64)
            for axis in axes:
                key = key * (int(settings[axis].max()) + 1) + settings[axis]
            found, cell = np.unique(key, return_inverse=True)
            if len(found) <= MAX_CELLS:
                names.append(" + ".join(axes))
                own.append(cell)
                sizes.append(len(found))
        counts = np.array(sizes)
        return cls(names, np.stack(own), counts, np.r_[0, np.cumsum(counts**2)])

    def tables(self, counts: Ints) -> list[Ints]:
        """Return the table of each set."""
        parts = np.split(counts, self.starts[1:-1])
        return [part.reshape(k, k) for part, k in zip(parts, self.sizes.tolist(), strict=True)]


@dataclass(frozen=True)
class Lower:
    """The models by their target y: what no measure changes as pairs are counted.

    ``order`` [n] lists them, ``before`` [n] says of each in that order how many have a smaller y. ``masks`` [cells,
    words] has the models of each cell as bits in that order, and ``counts`` holds the pairs of different y by cell.
    """

    order: Ints
    before: Ints
    own: Ints
    masks: Any
    counts: Ints

    @classmethod
    def of(cls, y: Ints, cells: Cells) -> "Lower":
        """Take the ranks y [n]."""
        order = np.argsort(y, kind="stable")
        before, own = np.searchsorted(y[order], y[order]), np.ascontiguousarray(cells.own[:, order])
        bits = np.concatenate([each == np.arange(k)[:, None] for each, k in zip(own, cells.sizes, strict=True)])
        padded = np.zeros((len(bits), 64 * (len(y) // 64 + 1)), bool)
        padded[:, : len(y)] = bits
        masks = np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64)
        lower = cls(order, before, own, masks, np.zeros(cells.starts[-1], np.int64))
        return replace(lower, counts=lower.counted(np.zeros(len(y), np.int64), cells)[1])

    def counted(self, x: Ints, cells: Cells) -> tuple[Ints, Ints]:
        """Count the pairs (i, j) of y_j < y_i, cell by cell: those of x_j < x_i, and of x_j = x_i; x [n] are ranks."""
        mine = x[self.order]
        by_x = np.argsort(mine, kind="stable")
        ends = np.r_[mine[by_x][1:] != mine[by_x][:-1], True]
        smaller, tied = np.zeros((2, cells.starts[-1]), np.int64)
        pairs_by_cell(by_x, ends, self.before, self.own, self.masks, cells.sizes, cells.starts, smaller, tied)
        return smaller, tied


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
    return [conditional_information(sample, asked.shared(_cells), asked.shared(_lower))]


def _cells(asked: Asked) -> Cells:
    rows, levels = asked.cohort.rows, asked.population.levels
    settings = {axis: np.unique(names, return_inverse=True)[1][rows] for axis, names in levels.items()}
    return Cells.of(settings, len(rows))


def _lower(asked: Asked) -> Lower:
    return Lower.of(asked.cohort.rank_y, asked.shared(_cells))


def conditional_information(sample: Sample, cells: Cells, lower: Lower | None = None) -> Estimate:
    """Return K = min over sets S of at most two settings of I(V_x; V_y | U_S) / H(V_y | U_S) (Jiang et al. 2020).

    V is the sign of the difference over pairs of models, U_S the settings in S of both models; plug-in
    estimates over ordered pairs that differ in both, in [0, 1]. The axis of the result names the minimising set. A
    plug-in estimate has no interval here: it is biased upwards where few pairs share their settings. ``lower`` is what
    no measure changes, where the caller has it.
    """
    point, rank, rank_y = sample.point, ranks_of(sample.x), sample.cohort.rank_y
    both = rank * sample.n + rank_y
    tied_in_both = float((tie_sizes(both.astype(np.float64)) ** 2.0).sum())
    pairs = int(point.total[0] - point.ties_x[0] - point.ties_y[0] + tied_in_both) // 2
    if sample.flaw or not pairs:
        reason = sample.flaw or "no pair differs in both"
        return Estimate("cmi", "", "", sample.n, pairs, NAN, reason=reason)
    lower = Lower.of(rank_y, cells) if lower is None else lower
    smaller, tied = lower.counted(rank, cells)
    tables = zip(cells.tables(smaller), cells.tables(lower.counts - smaller - tied), strict=True)
    values = [_normalised(agree, disagree) for agree, disagree in tables]
    best = int(np.argmin(values))
    reason = "a plug-in estimate; no interval and no test"
    return Estimate("cmi", cells.names[best], "", sample.n, pairs, float(values[best]), reason=reason)


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
