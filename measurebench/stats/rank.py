"""Rank correlations of weighted models: pairs as matrices, all bootstrap draws in one product."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from measurebench.stats.resampling import Floats, Ints, Singles

Signs = np.ndarray[Any, np.dtype[np.int8]]
_BLOCKS = 8
_EXACT = 2**24


def sign_matrix(values: Floats) -> Signs:
    """Return sign(v_i - v_j) for all ordered pairs: [n, n], int8; no missing values."""
    ranks = np.unique(values, return_inverse=True)[1].astype(np.int32)
    greater = ranks[:, None] > ranks[None, :]
    return np.asarray(greater.view(np.int8) - greater.T.view(np.int8))


@dataclass(frozen=True)
class PairCounts:
    """Sums over ordered pairs (i, j) of models with weight w_i w_j, one entry per draw.

    ``concordance`` sums sign(x_i-x_j) sign(y_i-y_j); ``total`` is (sum w)^2; ``same`` is sum w^2; ``ties_x``
    is the sum over groups of equal x of (sum w in the group)^2, so that total - ties_x counts the pairs that
    differ in x.
    """

    concordance: Floats
    total: Floats
    same: Floats
    ties_x: Floats
    ties_y: Floats

    @property
    def tau_a(self) -> Floats:
        """Concordance over all pairs of different models (Kendall 1938); NaN without a pair."""
        return ratio(self.concordance, self.total - self.same)

    @property
    def tau_b(self) -> Floats:
        """Concordance over the geometric mean of the untied pairs (Kendall 1945); NaN for constant x or y."""
        return ratio(self.concordance, np.sqrt((self.total - self.ties_x) * (self.total - self.ties_y)))


def pair_counts(x: Floats, y: Floats, units: Ints, weights: Singles, signs: Signs | None = None) -> PairCounts:
    """Count pairs in every draw; ``weights`` [draws, all units] says how often a unit was drawn.

    x, y, units: [n], the unit of each model. ``signs``: the product of both sign matrices where the caller has
    it. Sums of integers below 2^24 are exact in float32, the type of the matrix product.
    """
    if signs is None:
        signs = sign_matrix(x) * sign_matrix(y)
    present, local = np.unique(units, return_inverse=True)
    chosen = weights if len(present) == weights.shape[1] else weights[:, present]
    concordance = quadratic(chosen, collapsed(signs, local))
    sizes = np.bincount(local).astype(np.float32)
    total = (chosen @ sizes).astype(np.float64) ** 2
    same = np.einsum("bu,bu,u->b", chosen, chosen, sizes, dtype=np.float64)
    ties_x, ties_y = _ties(x, local, chosen, same), _ties(y, local, chosen, same)
    return PairCounts(concordance, total, same, ties_x, ties_y)


def point_counts(x: Floats, y: Floats, signs: Signs | None = None) -> PairCounts:
    """Count pairs of the table itself: every model once, one entry."""
    if signs is None:
        signs = sign_matrix(x) * sign_matrix(y)
    n = len(x)
    ties = [float((np.unique(v, return_counts=True)[1].astype(float) ** 2).sum()) for v in (x, y)]
    values = (float(signs.sum(dtype=np.int64)), float(n) ** 2, float(n), *ties)
    return PairCounts(*(np.array([v]) for v in values))


def partial_tau(tau_xy: Floats, tau_xz: Floats, tau_yz: Floats) -> Floats:
    """Return Kendall's partial tau of x and y given z (Kendall 1942); NaN where z orders x or y completely."""
    left = (1 - tau_xz**2) * (1 - tau_yz**2)
    return ratio(tau_xy - tau_xz * tau_yz, np.sqrt(np.where(left > 1e-12, left, 0.0)))


@dataclass(frozen=True)
class MidRanks:
    """Ranks among the drawn models, equal values sharing their mean rank, centred: [draws, n], float32.

    ``spread`` is the sum of their squares over the drawn models: (N^3 - N - sum of t^3 - t over ties) / 12.
    """

    centred: Singles
    spread: Floats

    @classmethod
    def among(cls, values: Floats, units: Ints, weights: Singles) -> "MidRanks":
        """Rank ``values`` [n] in every draw of ``weights`` [draws, all units]."""
        order = np.argsort(values, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(values[order]) != 0])
        drawn = weights[:, units[order]]
        groups = drawn if len(starts) == len(values) else np.add.reduceat(drawn, starts, axis=1)
        below = np.cumsum(groups, axis=1)
        total = below[:, -1].astype(np.float64)
        below -= groups / 2 + below[:, -1:] / 2
        group = np.empty(len(values), np.int64)
        group[order] = np.cumsum(np.isin(np.arange(len(values)), starts)) - 1
        ties = np.einsum("bg,bg,bg->b", groups, groups, groups, dtype=np.float64)
        return cls(below[:, group], (total**3 - ties) / 12)


def weighted_spearman(x: MidRanks, y: MidRanks, units: Ints, weights: Singles) -> Floats:
    """Return Spearman's rho in every draw, with ties as in a table of the drawn models: [draws]."""
    products = np.einsum("bn,bn->b", x.centred * weights[:, units], y.centred, dtype=np.float64)
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
    centred = values - values.mean()
    size = float(np.sqrt((centred**2).mean()))
    return np.asarray(centred / size if size > 0 else centred)


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return numerator over denominator, NaN where the denominator is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(denominator > 0, numerator / denominator, np.nan))


def quadratic(weights: Singles, matrix: Singles) -> Floats:
    """Return w' S w for each row w: [draws]. S is symmetric, so that blocks above the diagonal count twice."""
    n = len(matrix)
    result = np.zeros(len(weights))
    exact = float(weights[0].sum()) ** 2 * max(1.0, float(np.abs(matrix).max(initial=0))) < _EXACT
    kind = np.float32 if exact else np.float64
    for rows in np.array_split(np.arange(n), min(_BLOCKS, max(1, n // 64))):
        start, stop = int(rows[0]), int(rows[-1]) + 1
        product = weights[:, start:stop] @ matrix[start:stop, start:]
        product[:, stop - start :] *= 2
        result += np.einsum("bu,bu->b", product, weights[:, start:], dtype=kind)
    return result


def collapsed(signs: Signs, local: Ints) -> Singles:
    """Sum the pairs of models by the units that they belong to: [units, units], float32."""
    if len(local) == int(local.max()) + 1 and bool(np.all(np.diff(local) == 1)):
        return signs.astype(np.float32)
    members = membership(local, np.arange(len(local)))
    by_row = members @ signs.astype(np.float32)
    return np.ascontiguousarray((members @ by_row.T).T)


def _ties(values: Floats, local: Ints, weights: Singles, same: Floats) -> Floats:
    """Sum over groups of equal values of (sum of weights in the group)^2, per draw."""
    distinct, group = np.unique(values, return_inverse=True)
    if len(distinct) == len(values):
        return same
    groups = membership(group, local) @ weights.T
    return np.asarray(np.einsum("gb,gb->b", groups, groups, dtype=np.float64))


def membership(rows: Ints, columns: Ints, values: Floats | None = None) -> Any:
    """Return the sparse matrix that counts how often each (row, column) occurs, or sums values, float32."""
    from scipy.sparse import csr_array

    entries = np.ones(len(rows)) if values is None else values
    shape = (int(rows.max()) + 1, int(columns.max()) + 1)
    return csr_array((entries.astype(np.float32), (rows, columns)), shape=shape)
