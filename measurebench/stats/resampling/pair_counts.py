"""Counts pairs of models in every bootstrap draw at once: a matrix product per measure instead of a loop."""

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from measurebench.stats.resampling.draws import Floats, Ints, Singles

__all__ = [
    "Drawn",
    "MidRanks",
    "PairCounts",
    "Signs",
    "collapsed",
    "membership",
    "moderate",
    "pair_counts",
    "pair_sum",
    "partial_tau",
    "point_counts",
    "quadratic",
    "ratio",
    "sign_matrix",
    "tie_sizes",
    "ties",
    "weighted_r2",
    "weighted_spearman",
]

Signs = np.ndarray[Any, np.dtype[np.int8]]
_BLOCKS = 4  # blocks of columns of a symmetric product: three eighths of it are saved, and more blocks are too narrow
_EXACT = 2**24  # integers up to here are exact in float32


def sign_matrix(values: Floats) -> Signs:
    """Return sign(v_i - v_j) for all ordered pairs: [n, n], int8; no missing values."""
    ranks = np.unique(values, return_inverse=True)[1].astype(np.int32)
    greater = ranks[:, None] > ranks[None, :]
    return np.asarray(greater.view(np.int8) - greater.T.view(np.int8))


@dataclass(frozen=True)
class Drawn:
    """Models in every bootstrap draw, and all that depends on their units and weights alone.

    ``local`` [n] numbers each model's unit among those present; ``weights`` [draws, units present] says how often
    a unit was drawn. One object serves every measure with values on these models.
    """

    local: Ints
    weights: Singles

    @classmethod
    def of(cls, units: Ints, weights: Singles) -> "Drawn":
        """Take the units of these models out of ``weights`` [draws, all units]."""
        present, local = np.unique(units, return_inverse=True)
        return cls(local, weights if len(present) == weights.shape[1] else weights[:, present])

    @classmethod
    def once(cls, n: int) -> "Drawn":
        """Return the table itself as one draw: n models, each a unit, each once."""
        return cls(np.arange(n), np.ones((1, n), np.float32))

    @property
    def n_units(self) -> int:
        """How many units the models form."""
        return int(self.weights.shape[1])

    @cached_property
    def by_unit(self) -> Singles:
        """How often each unit was drawn, unit by unit: [units, draws]."""
        return np.ascontiguousarray(self.weights.T)

    @cached_property
    def by_model(self) -> Singles:
        """How often each model was drawn, model by model: [n, draws]."""
        return self.by_unit[self.local]

    @cached_property
    def size(self) -> Floats:
        """How many models each draw holds: [draws]."""
        return self.power_sum(1)

    @cached_property
    def repeated(self) -> Floats:
        """How many ordered pairs of two copies of one unit a draw holds, w^2 - w: [draws, units]."""
        weights = self.weights.astype(np.float64)
        return weights * (weights - 1)

    @cached_property
    def total(self) -> Floats:
        """How many ordered pairs of models each draw counts, models with themselves too: [draws]."""
        sizes = np.bincount(self.local).astype(np.float64)
        return np.asarray(self.size**2 - self.repeated @ sizes**2)

    @cached_property
    def cubes(self) -> Floats:
        """The sum of cubed weights: [draws]."""
        return self.power_sum(3)

    def power_sum(self, exponent: int) -> Floats:
        """Sum a power of the weights over the models: [draws]."""
        sizes = np.bincount(self.local).astype(np.float64)
        return np.asarray(np.power(self.weights, exponent, dtype=np.float64) @ sizes)


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
    pairs: Singles | Signs | None = None,
    ties_x: Floats | None = None,
    ties_y: Floats | None = None,
) -> PairCounts:
    """Count pairs in every draw; x, y: [n].

    What the caller has already is not computed again: ``pairs``, the products of both signs summed by unit
    (``collapsed``), and the ``ties`` of x and of y. Sums of integers below 2^24 are exact in float32, the type of
    the matrix product.
    """
    if pairs is None:
        pairs = collapsed(sign_matrix(x) * sign_matrix(y), drawn.local)
    return PairCounts(
        pair_sum(drawn, pairs),
        drawn.total,
        drawn.size,
        ties(x, drawn) if ties_x is None else ties_x,
        ties(y, drawn) if ties_y is None else ties_y,
    )


def point_counts(x: Floats, y: Floats, concordance: float | None = None) -> PairCounts:
    """Count the pairs of x [n] and y [n] in the table itself, where every model counts once: one entry.

    ``concordance`` is given where the caller has it.

    >>> point_counts(np.array([1.0, 2.0, 3.0, 3.0]), np.array([1.0, 3.0, 2.0, 4.0])).tau_a.round(3).tolist()
    [0.5]
    """
    if concordance is None:
        concordance = float((sign_matrix(x) * sign_matrix(y)).sum(dtype=np.int64))
    n = float(len(x))
    values = (concordance, n**2, n, *(float((tie_sizes(v).astype(float) ** 2).sum()) for v in (x, y)))
    return PairCounts(*(np.array([v]) for v in values))


def tie_sizes(values: Floats) -> Ints:
    """Return how many of the values [n] share each distinct value, the smallest first: [distinct].

    >>> tie_sizes(np.array([2.0, 1.0, 2.0])).tolist()
    [1, 2]
    """
    ordered = np.sort(values)
    return np.diff(np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1], True]))


def partial_tau(tau_xy: Floats, tau_xz: Floats, tau_yz: Floats) -> Floats:
    """Return Kendall's partial tau of x and y given z (Kendall 1942), any shape; NaN where z orders x or y completely.

    (tau_xy - tau_xz tau_yz) / sqrt((1 - tau_xz^2)(1 - tau_yz^2)).

    >>> partial_tau(np.array([0.5]), np.array([0.0]), np.array([0.0])).tolist()
    [0.5]
    """
    left = (1 - tau_xz**2) * (1 - tau_yz**2)
    return ratio(tau_xy - tau_xz * tau_yz, np.sqrt(np.where(left > 1e-12, left, 0.0)))


@dataclass(frozen=True)
class MidRanks:
    """Ranks among the drawn models, equal values sharing their mean rank, centred: [n, draws], float32.

    ``spread`` is the sum of their squares over the drawn models: (N^3 - N - sum of t^3 - t over ties) / 12.
    """

    centred: Singles
    spread: Floats

    @classmethod
    def among(cls, values: Floats, drawn: Drawn) -> "MidRanks":
        """Rank ``values`` [n] in every draw."""
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        first = np.r_[True, ordered[1:] != ordered[:-1]]
        groups, cubes = drawn.by_model[order], drawn.cubes
        if not first.all():
            groups = np.add.reduceat(groups, np.flatnonzero(first), axis=0)
            cubes = np.einsum("gb,gb,gb->b", groups, groups, groups, dtype=np.float64)
        ranks = _cumulated(groups)
        groups /= 2
        ranks -= groups
        ranks -= drawn.size.astype(np.float32) / 2
        group = np.empty(len(values), np.int64)
        group[order] = np.cumsum(first) - 1
        return cls(ranks[group], (drawn.size**3 - cubes) / 12)


def _cumulated(rows: Singles) -> Singles:
    """Return cumulative sums over the first axis; row by row, which is far faster than numpy's own for wide rows."""
    result = rows.copy()
    for above, here in itertools.pairwise(result):
        here += above
    return result


def weighted_spearman(x: MidRanks, y: MidRanks, drawn: Drawn) -> Floats:
    """Return Spearman's rho in every draw, with ties as in a table of the drawn models: [draws]."""
    products = np.einsum("nb,nb->b", x.centred * drawn.by_model, y.centred, dtype=np.float64)
    return ratio(products, np.sqrt(x.spread * y.spread))


def weighted_r2(x: Floats, y: Floats, units: Ints, weights: Singles) -> Floats:
    """Return the squared Pearson correlation of x and y in every draw, from weighted moments: [draws]."""
    dx, dy = _unit_scale(x), _unit_scale(y)
    moments = np.stack([np.ones(len(x)), dx, dy, dx * dx, dy * dy, dx * dy])
    by_unit = np.stack([np.bincount(units, m, minlength=weights.shape[1]) for m in moments], axis=1)
    n, sx, sy, sxx, syy, sxy = (weights.astype(np.float64) @ by_unit).T
    vx, vy = np.maximum(n * sxx - sx**2, 0.0), np.maximum(n * syy - sy**2, 0.0)
    floor = 1e-12 * n**2
    return ratio((n * sxy - sx * sy) ** 2, np.where((vx > floor) & (vy > floor), vx * vy, 0.0))


def _unit_scale(values: Floats) -> Floats:
    """Return values with mean 0 and deviation 1; a constant becomes 0."""
    centred = moderate(values)
    centred = centred - centred.mean()
    size = float(np.sqrt((centred**2).mean()))
    return np.asarray(centred / size if size > 0 else centred)


def moderate(values: Floats) -> Floats:
    """Return values [n] divided by the power of two that brings them below 1, so that their squares stay in range."""
    return np.ldexp(values, -int(np.frexp(np.abs(values).max(initial=0.0))[1]))


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return numerator over denominator, same shape, NaN where the denominator is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(denominator > 0, numerator / denominator, np.nan))


def quadratic(weights: Singles, matrix: Singles | Signs) -> Floats:
    """Return w' S w for each row w: [draws]. S is symmetric, so that blocks above the diagonal count twice."""
    n = len(matrix)
    result = np.zeros(len(weights))
    exact = float(weights[0].sum()) ** 2 * max(1.0, float(np.abs(matrix).max(initial=0))) < _EXACT
    kind = np.float32 if exact else np.float64
    blocks = min(_BLOCKS, max(1, n // 64))
    for start, stop in itertools.pairwise(n * k // blocks for k in range(blocks + 1)):
        columns = matrix[:stop, start:stop].astype(np.float32)
        columns[:start] *= 2
        result += np.einsum("bu,bu->b", weights[:, :stop] @ columns, weights[:, start:stop], dtype=kind)
    return result


def pair_sum(drawn: Drawn, pairs: Singles | Signs) -> Floats:
    """Sum a symmetric matrix over pairs of units [units, units] in every draw, as ``PairCounts`` counts: [draws]."""
    return np.asarray(quadratic(drawn.weights, pairs) - drawn.repeated @ np.diagonal(pairs).astype(np.float64))


def collapsed(signs: Signs | Singles, local: Ints) -> Singles:
    """Sum the pairs of models by the units that they belong to: [units, units], float32."""
    if len(local) == int(local.max()) + 1 and bool(np.all(np.diff(local) == 1)):
        return signs.astype(np.float32)
    members = membership(local, np.arange(len(local)))
    by_row = members @ signs.astype(np.float32)
    return np.ascontiguousarray((members @ by_row.T).T)


def ties(values: Floats, drawn: Drawn) -> Floats:
    """Count the ordered pairs of equal values, models with themselves too, as ``PairCounts`` does: [draws]."""
    distinct, group = np.unique(values, return_inverse=True)
    if len(distinct) == len(values):
        return drawn.size
    members = membership(group, drawn.local)
    groups = members @ drawn.by_unit
    own = members.multiply(members).sum(axis=0)
    return np.asarray(np.einsum("gb,gb->b", groups, groups, dtype=np.float64) - drawn.repeated @ own)


def membership(rows: Ints, columns: Ints, values: Floats | None = None) -> Any:
    """Return the sparse matrix [rows, columns], float32, of how often each (row, column) occurs, or its sum."""
    from scipy.sparse import csr_array

    entries = np.ones(len(rows)) if values is None else values
    shape = (int(rows.max()) + 1, int(columns.max()) + 1)
    return csr_array((entries.astype(np.float32), (rows, columns)), shape=shape)
