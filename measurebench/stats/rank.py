"""Kendall's tau over weighted models: pairs as matrices, all bootstrap draws in one product."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from measurebench.stats.resampling import Floats, Ints, Singles

Signs = np.ndarray[Any, np.dtype[np.int8]]


def sign_matrix(values: Floats) -> Signs:
    """Return sign(v_i - v_j) for all ordered pairs: [n, n], int8; no missing values."""
    ranks = np.unique(values, return_inverse=True)[1].astype(np.int32)
    greater = ranks[:, None] > ranks[None, :]
    return greater.view(np.int8) - greater.T.view(np.int8)


@dataclass(frozen=True)
class PairCounts:
    """Sums over ordered pairs (i, j) of models with weight w_i w_j, one entry per draw.

    ``concordance`` sums sign(x_i-x_j) sign(y_i-y_j); ``total`` is (sum w)^2; ``same`` is sum w^2; ``ties_x`` is
    the sum over groups of equal x of (sum w in the group)^2, so that total - ties_x counts the pairs that differ in x.
    """

    concordance: Floats
    total: Floats
    same: Floats
    ties_x: Floats
    ties_y: Floats

    @property
    def tau_a(self) -> Floats:
        """Concordance over all pairs of different models (Kendall 1938); NaN without a pair."""
        return _ratio(self.concordance, self.total - self.same)

    @property
    def tau_b(self) -> Floats:
        """Concordance over the geometric mean of the untied pairs (Kendall 1945); NaN where x or y is constant."""
        return _ratio(self.concordance, np.sqrt((self.total - self.ties_x) * (self.total - self.ties_y)))


def pair_counts(
    x: Floats, y: Floats, units: Ints, weights: Singles, signs: Signs | None = None
) -> PairCounts:
    """Count pairs in every draw; ``weights`` [draws, all units] says how often a unit was drawn.

    x, y, units: [n], the unit of each model. ``signs``: the product of both sign matrices where the caller has it.
    Sums of integers below 2^24 are exact in float32, the type of the matrix product.
    """
    if signs is None:
        signs = sign_matrix(x) * sign_matrix(y)
    present, local = np.unique(units, return_inverse=True)
    chosen = weights[:, present]
    products = chosen @ _collapsed(signs, local)
    rows = np.einsum("bu,bu->b", products, chosen, dtype=np.float64)
    sizes = np.bincount(local).astype(np.float32)
    total = (chosen @ sizes).astype(np.float64) ** 2
    same = ((chosen**2) @ sizes).astype(np.float64)
    return PairCounts(rows, total, same, _ties(x, local, chosen, same), _ties(y, local, chosen, same))


def point_counts(x: Floats, y: Floats, signs: Signs | None = None) -> PairCounts:
    """Count pairs of the table itself: every model once."""
    units = np.arange(len(x))
    return pair_counts(x, y, units, np.ones((1, len(x)), np.float32), signs)


def _collapsed(signs: Signs, local: Ints) -> Singles:
    """Sum the pairs of models by the units that they belong to: [units, units], float32."""
    if len(np.unique(local)) == len(local) and np.all(np.diff(local) == 1):
        return signs.astype(np.float32)
    order = np.argsort(local, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(local[order]) != 0])
    by_row = np.add.reduceat(signs[np.ix_(order, order)].astype(np.float32), starts, axis=0)
    return np.asarray(np.add.reduceat(by_row, starts, axis=1))


def _ties(values: Floats, local: Ints, weights: Singles, same: Floats) -> Floats:
    """Sum over groups of equal values of (sum of weights in the group)^2, per draw."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(values[order]) != 0])
    if len(starts) == len(values):
        return same
    groups = np.add.reduceat(weights[:, local[order]], starts, axis=1)
    return np.asarray(np.einsum("bg,bg->b", groups, groups, dtype=np.float64))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(denominator > 0, numerator / denominator, np.nan))
