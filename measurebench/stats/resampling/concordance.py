"""Concordance of many measures with many versions of a target, permuted or measured again, counted in bits."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from measurebench.stats.resampling.draws import Floats, Ints

__all__ = ["concordances", "ranks_of"]

_Words = np.ndarray[Any, np.dtype[np.uint64]]
_CHUNK = 1 << 18  # pairs times versions that are held at a time: a few megabytes, which stay in the cache
_WORD = 64


def ranks_of(values: Floats) -> Ints:
    """Return the dense rank of each entry, equal values sharing one: same shape, int64.

    >>> ranks_of(np.array([0.5, 2.0, 0.5])).tolist()
    [0, 1, 0]
    """
    return np.unique(values, return_inverse=True)[1].reshape(values.shape).astype(np.int64)


def concordances(xs: Floats, targets: Ints) -> tuple[Floats, Floats]:
    """Return sum over ordered pairs of sign(x_i-x_j) sign(t_i-t_j): [measures, versions], and the untied pairs.

    ``xs`` [measures, n] without missing values; ``targets`` [versions, n], ranks (any integers). The second array,
    [versions], counts the ordered pairs in which the target differs.

    Strict orders are compared, one bit per unordered pair: disagreements are counted by XOR and popcount. The sign
    of a difference is the mean of what it becomes with ties broken one way and the other, so that values with ties
    take part as two strict orders.
    """
    n = xs.shape[1]
    orders, measure = _strict(np.stack([ranks_of(x) for x in xs]))
    versions, version = _strict(targets)
    above = _packed(orders)[:, None, :]
    total = n * (n - 1) // 2
    step = max(1, _CHUNK // max(1, total))
    signs = np.empty((len(orders), len(versions)))
    differ = np.empty((len(orders), min(step, len(versions)), above.shape[2]), np.uint64)
    counts = np.empty(differ.shape, np.uint8)
    for start in range(0, len(versions), step):
        bits = _packed(versions[start : start + step])
        size = len(bits)
        np.bitwise_xor(above, bits, out=differ[:, :size])
        np.bitwise_count(differ[:, :size], out=counts[:, :size])
        signs[:, start : start + step] = 2.0 * total - 4.0 * counts[:, :size].sum(axis=2, dtype=np.uint32)
    return _averaged(_averaged(signs, measure, len(xs)).T, version, len(targets)).T, _untied(targets)


def _untied(targets: Ints) -> Floats:
    """Count the ordered pairs in which each version differs, n^2 - sum of t^2 over its ties: [versions]."""
    n_versions, n = targets.shape
    ordered = np.sort(targets, axis=1)
    first = np.ones((n_versions, n + 1), bool)
    first[:, 1:n] = ordered[:, 1:] != ordered[:, :-1]
    rows, starts = np.nonzero(first[:, :n])
    ends = np.nonzero(first[:, 1:])[1] + 1
    return np.asarray(n**2 - np.bincount(rows, (ends - starts) ** 2.0, minlength=n_versions), dtype=np.float64)


def _averaged(rows: Floats, owner: Ints, n: int) -> Floats:
    """Average the rows of each owner: [n, columns]."""
    if len(rows) == n:
        return rows
    total = np.zeros((n, rows.shape[1]))
    np.add.at(total, owner, rows)
    return total / np.bincount(owner, minlength=n)[:, None]


def _strict(ranks: Ints) -> tuple[Ints, Ints]:
    """Return each row as an order without ties, and the row's number; a row with ties comes twice, broken both ways."""
    n = ranks.shape[1]
    position = np.arange(n)
    tied = np.flatnonzero((np.diff(np.sort(ranks, axis=1), axis=1) == 0).any(axis=1))
    keys = np.concatenate([ranks * n + position, ranks[tied] * n - position])
    orders = np.argsort(np.argsort(keys, axis=1), axis=1)
    return orders.astype(np.int16 if n < 2**15 else np.int64), np.r_[np.arange(len(ranks)), tied]


def _packed(orders: Ints) -> _Words:
    """Pack r_i > r_j for every unordered pair into 64-bit words, the last one filled with zeros: [orders, words].

    On a circle each model meets the (n-1)/2 that follow it; if n is even, those opposite each other meet once.
    """
    rows, n = orders.shape
    half, total = (n - 1) // 2, n * (n - 1) // 2
    room = np.zeros((rows, -(-total // _WORD) * _WORD), bool)
    following = sliding_window_view(np.concatenate([orders, orders[:, : half + 1]], axis=1), n, axis=1)[:, 1 : half + 1]
    np.greater(orders[:, None, :], following, out=room[:, : half * n].reshape(rows, half, n))
    if n % 2 == 0:
        np.greater(orders[:, : n // 2], orders[:, n // 2 :], out=room[:, half * n : total])
    return np.packbits(room, axis=1).view(np.uint64)
