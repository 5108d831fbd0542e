"""Counts concordant and tied pairs of models in every bootstrap draw at once."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from measurebench.stats.resampling import kernels
from measurebench.stats.resampling.concordance import concordance_of, ranks_of
from measurebench.stats.resampling.draws import Bools, Floats, Ints, Singles
from measurebench.stats.resampling.merging import drawn_concordant
from measurebench.stats.resampling.vectors import BLOCK, aligned

__all__ = [
    "Counts",
    "Drawn",
    "Ordered",
    "PairCounts",
    "concordance_by_model",
    "drawn_concordance",
    "moderate",
    "pair_counts",
    "partial_tau",
    "point_counts",
    "ratio",
    "spearman",
    "tie_sizes",
    "ties",
    "weighted_spearman",
    "weights_in_blocks",
]

Counts = np.ndarray[Any, np.dtype[np.int16]] | np.ndarray[Any, np.dtype[np.int32]]

_NARROW = 30_000  # models in a draw: their number fits 16 bits, and the pairs of them 32


@dataclass(frozen=True)
class Ordered:
    """Values in order: ``order`` [n] lists them from the smallest, ``ends`` [n] marks the last of equal ones."""

    order: Ints
    ends: Bools

    @classmethod
    def of(cls, values: Floats) -> "Ordered":
        """Order values [n], none missing."""
        order = np.argsort(values, kind="stable")
        return cls(order, _ends(values[order]))

    @cached_property
    def shared(self) -> Bools:
        """Whether each of the models in order shares its value with another: [n]."""
        shared = ~self.ends
        shared[1:] |= shared[:-1].copy()
        return shared

    @cached_property
    def rank(self) -> Ints:
        """The dense rank of each value, equal ones sharing one: [n]."""
        rank = np.empty(len(self.order), np.int64)
        rank[self.order] = np.cumsum(self.ends) - self.ends
        return rank


@dataclass(frozen=True)
class Drawn:
    """Models in every bootstrap draw, and all that depends on their units and weights alone.

    ``local`` [n] numbers each model's unit among the units ``present``; ``all_weights`` [draws, all units] says how
    often a unit was drawn, ``in_blocks`` holds the same as the kernels take it, where the caller has it. One object
    serves every measure with values on these models.
    """

    local: Ints
    present: Ints
    all_weights: Singles
    in_blocks: Counts | None = None

    @classmethod
    def of(cls, units: Ints, weights: Singles, in_blocks: Counts | None = None) -> "Drawn":
        """Take the units of these models out of ``weights`` [draws, all units]."""
        present, local = np.unique(units, return_inverse=True)
        return cls(local, present, weights, in_blocks)

    @classmethod
    def once(cls, n: int) -> "Drawn":
        """Return the table itself as one draw: n models, each a unit, each once."""
        return cls(np.arange(n), np.arange(n), np.ones((1, n), np.float32))

    @property
    def n_units(self) -> int:
        """How many units the models form."""
        return len(self.present)

    @cached_property
    def weights(self) -> Singles:
        """How often each unit present was drawn: [draws, units]."""
        whole = self.n_units == self.all_weights.shape[1]
        return self.all_weights if whole else self.all_weights[:, self.present]

    @cached_property
    def blocks(self) -> Counts:
        """How often each unit was drawn, in blocks of draws, the last filled with zeros: [blocks, units, BLOCK]."""
        found: np.ndarray[Any, Any] = weights_in_blocks(self.weights) if self.in_blocks is None else self.in_blocks
        kind = np.int16 if self.is_narrow else np.int32
        if found.shape[1] == self.n_units and found.dtype == kind:
            return found
        result = aligned((len(found), self.n_units, BLOCK), kind)
        result[:] = found if found.shape[1] == self.n_units else np.take(found, self.present, axis=1)
        return result

    @cached_property
    def most(self) -> tuple[float, float]:
        """The number of models in the largest draw, and how often it holds a unit at most."""
        return float(self.size.max(initial=0.0)), float(self.blocks.max(initial=0))

    @cached_property
    def is_narrow(self) -> bool:
        """Whether every draw is so small that its models can be counted in 16 bits, and its pairs in 32."""
        return float(self.size.max(initial=0.0)) <= _NARROW

    @cached_property
    def members(self) -> Ints:
        """The models unit by unit: [n]."""
        return np.asarray(np.argsort(self.local, kind="stable"))

    @cached_property
    def sizes(self) -> Ints:
        """How many models each unit has: [units]."""
        return np.asarray(np.bincount(self.local, minlength=self.n_units))

    @cached_property
    def starts(self) -> Ints:
        """Where the models of each unit start among ``members``: [units + 1]."""
        return np.asarray(np.r_[0, np.cumsum(self.sizes)])

    @cached_property
    def size(self) -> Floats:
        """How many models each draw holds: [draws]."""
        sizes = np.zeros(self.all_weights.shape[1], np.float32)
        sizes[self.present] = self.sizes
        # Whole numbers below 2^24 are exact in float32.
        return np.asarray(self.all_weights @ sizes, dtype=np.float64)

    @cached_property
    def cubes(self) -> Floats:
        """The cube of each draw's size less the cubes of how often each model was drawn: [draws]."""
        sums = np.empty((len(self.blocks), BLOCK))
        kernels.drawn_cubes(self.sizes, self.blocks, sums)
        return np.asarray(self.size * self.size * self.size - self.kept(sums))

    @cached_property
    def total(self) -> Floats:
        """How many ordered pairs of models each draw counts, models with themselves too: [draws]."""
        return self._tied(np.empty(0, np.int64), np.empty(0, np.bool_), self.sizes**2) + self.size**2

    def tied(self, order: Ints, ends: Bools) -> Floats:
        """Count the ordered pairs of equal values, models with themselves too: [draws].

        ``order`` and ``ends`` list the models by value, at least those that share it.
        """
        return self.size if ends.all() else self._tied(order, ends, np.zeros_like(self.sizes)) + self.size

    def _tied(self, order: Ints, ends: Bools, own: Ints) -> Floats:
        sums = np.empty((len(self.blocks), BLOCK), np.int32 if self.is_narrow else np.int64)
        kernels.drawn_ties(order, ends, self.local, self.blocks, own.astype(sums.dtype), sums)
        return self.kept(sums).astype(np.float64)

    def kept(self, sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return sums [blocks, BLOCK] as [draws]."""
        return sums.reshape(-1)[: len(self.all_weights)]


def weights_in_blocks(weights: Singles) -> Counts:
    """Return weights [draws, units] as the kernels take them, the last block filled: [blocks, units, BLOCK]."""
    draws, units = weights.shape
    kind = np.int16 if float(weights.max(initial=0.0)) <= _NARROW else np.int32
    filled = aligned((-(-draws // BLOCK), units, BLOCK), kind)
    kernels.in_blocks(weights, filled)
    return filled


@dataclass(frozen=True)
class PairCounts:
    """Sums over ordered pairs (i, j) of models, one entry per draw.

    Models of two units count w_u w_v, those of one unit w_u: a unit drawn twice brings its own pairs twice. (Were its
    copies compared with each other, pairs inside units would count twice as much as in the table, and the interval
    would lie beside the estimate.) ``concordance`` sums sign(x_i-x_j) sign(y_i-y_j); ``total`` sums all pairs,
    ``same`` those of a model with itself; ``ties_x`` those of equal x, so that total - ties_x counts the pairs that
    differ in x.
    """

    concordance: Floats
    total: Floats
    same: Floats
    ties_x: Floats
    ties_y: Floats

    @property
    def tau_a(self) -> Floats:
        """Concordance over all pairs of different models (Kendall 1938): [draws]; NaN without a pair."""
        return ratio(self.concordance, self.total - self.same)

    @property
    def tau_b(self) -> Floats:
        """Concordance over the geometric mean of the untied pairs (Kendall 1945): [draws]; NaN for constant x or y."""
        return ratio(self.concordance, np.sqrt((self.total - self.ties_x) * (self.total - self.ties_y)))


def pair_counts(
    x: Floats,
    y: Floats,
    drawn: Drawn,
    ties_x: Floats | None = None,
    ties_y: Floats | None = None,
    rank_y: Ints | None = None,
) -> PairCounts:
    """Count pairs in every draw; x, y: [n].

    The ``ties`` of x and of y, and the dense rank of y, are not found again where they are given.
    """
    by_x, rank = Ordered.of(x), ranks_of(y) if rank_y is None else rank_y
    ties_x = ties(x, drawn, by_value=by_x) if ties_x is None else ties_x
    ties_y = ties(y, drawn) if ties_y is None else ties_y
    # A pair is concordant, discordant, or tied in x or y or both: concordant less discordant ones follow from the rest.
    concordant, ties_both = _concordant(x, by_x, rank, drawn)
    concordance = 4 * concordant - (drawn.total - ties_x - ties_y + ties_both)
    return PairCounts(concordance, drawn.total, drawn.size, ties_x, ties_y)


def _concordant(x: Floats, by_x: Ordered, rank: Ints, drawn: Drawn) -> tuple[Floats, Floats]:
    """Count the unordered concordant pairs, and the ordered ones that are tied in both x and y: [draws] each.

    x: [n]; ``rank`` [n] is the dense rank of y.
    """
    own = np.empty(drawn.n_units, np.int64)
    kernels.own_concordant(drawn.members, drawn.starts, x, rank, own)
    order, ties_both = by_x.order, drawn.size
    if not by_x.ends.all():  # of equal x the largest y comes first
        inside, group = order[by_x.shared], np.cumsum(by_x.ends[by_x.shared])
        n_ranks = int(rank.max()) + 1
        both = n_ranks - 1 - rank[inside]
        both[1:] += group[:-1] * n_ranks
        by_both = np.argsort(both)
        order = order.copy()
        order[by_x.shared] = inside[by_both]
        ties_both = drawn.tied(inside[by_both], _ends(both[by_both]))
    counts = drawn_concordant(rank[order], drawn.local[order], own, drawn.blocks, drawn.most)
    return drawn.kept(counts).astype(np.float64), ties_both


def drawn_concordance(x: Floats, y: Floats, drawn: Drawn, heavy: Floats | None = None) -> Floats:
    """Sum sign(x_i - x_j) sign(y_i - y_j) over ordered pairs in every draw, as ``PairCounts`` counts them: [draws].

    x, y: [n]. With ``heavy`` [n] each pair is multiplied by the mean of its models' entries.
    """
    if heavy is None:
        return pair_counts(x, y, drawn).concordance
    by_x, own, sums = Ordered.of(x), np.empty(drawn.n_units), np.empty((len(drawn.blocks), BLOCK))
    kernels.own_pairs(drawn.members, drawn.starts, x, y, heavy, own)
    kernels.heavy_concordance(by_x.order, by_x.ends, ranks_of(y), drawn.local, heavy, drawn.blocks, own, sums)
    return drawn.kept(sums)


def point_counts(x: Floats, y: Floats, concordance: float | None = None, ties_y: float | None = None) -> PairCounts:
    """Count the pairs of x [n] and y [n] in the table itself, where every model counts once: one entry.

    ``concordance`` and the ``ties_y`` are given where the caller has them.

    >>> point_counts(np.array([1.0, 2.0, 3.0, 3.0]), np.array([1.0, 3.0, 2.0, 4.0])).tau_a.round(3).tolist()
    [0.5]
    """
    if concordance is None:
        concordance = concordance_of(x, y)
    n = float(len(x))
    values = (concordance, n**2, n, _tied_pairs(x), _tied_pairs(y) if ties_y is None else ties_y)
    return PairCounts(*(np.array([v]) for v in values))


def _tied_pairs(values: Floats) -> float:
    """Count the ordered pairs of equal values [n], those of a value with itself too."""
    return float((tie_sizes(values).astype(float) ** 2).sum())


def tie_sizes(values: Floats) -> Ints:
    """Return how many of the values [n] share each distinct value, the smallest first: [distinct].

    >>> tie_sizes(np.array([2.0, 1.0, 2.0])).tolist()
    [1, 2]
    """
    last = np.flatnonzero(_ends(np.sort(values)))
    last[1:] -= last[:-1].copy()
    last[:1] += 1
    return last


def _ends(ordered: np.ndarray[Any, Any]) -> Bools:
    """Mark the last of equal values, which lie in order: [n]. (``np.r_`` takes as long as all of this.)"""
    ends = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=ends[:-1])
    return ends


def partial_tau(tau_xy: Floats, tau_xz: Floats, tau_yz: Floats) -> Floats:
    """Return Kendall's partial tau of x and y given z (Kendall 1942), any shape; NaN where z orders x or y completely.

    (tau_xy - tau_xz tau_yz) / sqrt((1 - tau_xz^2)(1 - tau_yz^2)).

    >>> partial_tau(np.array([0.5]), np.array([0.0]), np.array([0.0])).tolist()
    [0.5]
    """
    left = (1 - tau_xz**2) * (1 - tau_yz**2)
    return ratio(tau_xy - tau_xz * tau_yz, np.sqrt(np.where(left > 1e-12, left, 0.0)))


def weighted_spearman(x: Floats, y: Floats, drawn: Drawn) -> Floats:
    """Return Spearman's rho of x [n] and y [n] in every draw, with ties as in a table of the drawn models: [draws].

    Ranks are those among the drawn models, equal values sharing their mean rank. The sum of their squares is
    (N^3 - N - sum of t^3 - t over ties) / 12.
    """
    by_x, by_y = Ordered.of(x), Ordered.of(y)
    products, tied = np.empty((len(drawn.blocks), BLOCK)), np.empty((2, len(drawn.blocks), BLOCK))
    sizes = drawn.sizes.astype(drawn.blocks.dtype)
    kernels.drawn_spearman(
        by_x.order, by_x.ends, by_y.order, by_y.ends, sizes, drawn.local, drawn.blocks, products, tied
    )
    spread_x, spread_y = ((drawn.cubes - drawn.kept(each)) / 12 for each in tied)
    return ratio(drawn.kept(products), np.sqrt(spread_x * spread_y))


def spearman(x: Floats, y: Floats, moved: Ints) -> tuple[float, Floats]:
    """Return Spearman's rho of x [n] and y [n], and those after exchanges ``moved`` [permutations, n] of y.

    Both are NaN where x or y is constant.
    """
    from scipy.stats import rankdata

    rank_x, rank_y = rankdata(x) - (len(x) + 1) / 2, rankdata(y) - (len(y) + 1) / 2
    scale = np.sqrt((rank_x**2).sum() * (rank_y**2).sum())
    values = ratio(np.r_[rank_x @ rank_y, rank_y[moved] @ rank_x], scale)
    return float(values[0]), values[1:]


def moderate(values: Floats) -> Floats:
    """Return values [n] divided by the power of two that brings them below 1, so that their squares stay in range."""
    return np.ldexp(values, -int(np.frexp(np.abs(values).max(initial=0.0))[1]))


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return numerator over denominator, same shape, NaN where the denominator is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(denominator > 0, numerator / denominator, np.nan))


def ties(values: Floats, drawn: Drawn, heavy: Floats | None = None, by_value: Ordered | None = None) -> Floats:
    """Count the ordered pairs of equal values, models with themselves too, as ``PairCounts`` does: [draws].

    With ``heavy`` [n] each pair counts the mean of its models' entries.
    """
    by_value = by_value or Ordered.of(values)
    if heavy is not None:
        return _heavy_ties(by_value, drawn, heavy)
    return drawn.tied(by_value.order, by_value.ends)


def _heavy_ties(by_value: Ordered, drawn: Drawn, heavy: Floats) -> Floats:
    rank = by_value.rank
    key = drawn.local * (int(rank.max()) + 1) + rank
    _, group, counts = np.unique(key, return_inverse=True, return_counts=True)
    own, sums = np.bincount(drawn.local, counts[group] * heavy), np.empty((len(drawn.blocks), BLOCK))
    kernels.heavy_ties(by_value.order, by_value.ends, drawn.local, heavy, drawn.blocks, own, sums)
    return drawn.kept(sums)


def concordance_by_model(x: Floats, y: Floats) -> Floats:
    """Sum sign(x_i - x_j) sign(y_i - y_j) over j for each model i; x, y: [n].

    >>> concordance_by_model(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])).tolist()
    [2.0, 0.0, 0.0]
    """
    sums = np.empty(len(x))
    kernels.row_concordance(x, y, sums)
    return sums
