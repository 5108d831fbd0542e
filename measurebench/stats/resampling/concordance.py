"""Concordance of many measures with many versions of a target, permuted or measured again."""

import numpy as np

from measurebench.stats.resampling.compiled import LANES
from measurebench.stats.resampling.draws import Floats, Ints
from measurebench.stats.resampling.permuted_kernels import models_below, permuted_bits, permuted_concordance, sort_ranks
from measurebench.stats.resampling.vectors import aligned

__all__ = ["concordance_of", "concordance_sums", "concordances", "ranks_of"]

# The bits of n models take n^2 / 8 bytes a measure, and pay for themselves from a few versions of the target on.
_MOST_BITS, _MANY = 2000, 8

_SPARSE = 8  # times as many ranks as models take longer to count than to sort


def ranks_of(values: Floats) -> Ints:
    """Return the dense rank of each entry, equal values sharing one: same shape, int64.

    >>> ranks_of(np.array([0.5, 2.0, 0.5])).tolist()
    [0, 1, 0]
    """
    return np.unique(values, return_inverse=True)[1].reshape(values.shape).astype(np.int64)


def concordances(xs: Floats, targets: Ints) -> tuple[Floats, Floats]:
    """Return sum over ordered pairs of sign(x_i-x_j) sign(t_i-t_j): [measures, versions], and the untied pairs.

    ``xs`` [measures, n] without missing values; ``targets`` [versions, n], whole numbers from 0 on in the target's
    order. The second array, [versions], counts the ordered pairs in which the target differs.
    """
    return concordance_sums(xs, targets), _untied(targets)


def concordance_of(x: Floats, y: Floats) -> float:
    """Return sum over ordered pairs of sign(x_i-x_j) sign(y_i-y_j); x, y: [n], without missing values.

    >>> concordance_of(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0]))
    2.0
    """
    return float(concordance_sums(x[None], ranks_of(y)[None])[0, 0])


def concordance_sums(xs: Floats, targets: Ints) -> Floats:
    """Return what ``concordances`` returns first: [measures, versions]."""
    orders = np.argsort(xs, axis=1, kind="stable")
    ordered = np.take_along_axis(xs, orders, axis=1)
    ends = np.ones(xs.shape, bool)
    ends[:, :-1] = ordered[:, 1:] != ordered[:, :-1]
    signs, by_target = np.empty((len(xs), len(targets))), _in_order(targets)
    if len(targets) <= _MANY or xs.shape[1] > _MOST_BITS:
        permuted_concordance(orders, ends, targets, by_target, signs)
        return signs
    for start in range(0, len(xs), LANES):
        part = slice(start, start + LANES)
        below = aligned((xs.shape[1], xs.shape[1] // 64 + 1, LANES), np.uint64)
        models_below(orders[part], ends[part], below)
        permuted_bits(below, targets, by_target, signs[part])
    return signs


def _in_order(targets: Ints) -> Ints:
    """List the models of each version by target: [versions, n]."""
    if targets.max(initial=0) > _SPARSE * targets.shape[1]:
        return np.argsort(targets, axis=1)
    by_target = np.empty(targets.shape, np.int64)
    sort_ranks(targets, by_target)
    return by_target


def _untied(targets: Ints) -> Floats:
    """Count the ordered pairs in which each version differs, n^2 - sum of t^2 over its ties: [versions]."""
    n_versions, n = targets.shape
    ordered = np.sort(targets, axis=1)
    first = np.ones((n_versions, n + 1), bool)
    first[:, 1:n] = ordered[:, 1:] != ordered[:, :-1]
    rows, starts = np.nonzero(first[:, :n])
    ends = np.nonzero(first[:, 1:])[1] + 1
    return np.asarray(n**2 - np.bincount(rows, (ends - starts) ** 2.0, minlength=n_versions), dtype=np.float64)
