"""Counts of concordant pairs by merging, for many bootstrap draws at once.

The models are sorted by y in parts of growing size, in the order of x (Knight 1966). Wherever two parts are merged, the
models of the first that lie below one of the second are concordant with it. Who lies below whom is the same in all
draws, and found once; a draw then only sums weights, row by row without a choice. Sums are of whole numbers and exact.
"""

from typing import Any

import numpy as np

from measurebench.core.compiled import compiled
from measurebench.stats.resampling.vectors import BLOCK, add_rows, aligned, dot_rows, running_rows

__all__ = ["drawn_concordant"]

A = np.ndarray[Any, Any]

LEAF = 8
"""Models that are compared pair by pair: merges of fewer take longer."""


def drawn_concordant(rank: A, unit: A, own: A, blocks: A, most: tuple[float, float]) -> A:
    """Count the concordant pairs, unordered, in every draw: [blocks, BLOCK].

    ``rank`` [n] is the dense rank of y and ``unit`` [n] the unit, both of the models in the order of x, equal ones from
    the largest y down; ``own`` [units] counts the concordant pairs of each unit, ``blocks`` [blocks, units, BLOCK]
    are the weights, ``most`` the largest size of a draw and the largest weight. A pair of two units counts the product
    of their weights, one of the same unit its weight.
    """
    n, n_levels = len(rank), _n_levels(len(rank))
    row, owner, own, blocks = _rows(unit, own, blocks, most)
    ordered, below = np.empty((n_levels + 1, n), np.uint32), np.empty((n_levels + 1, n), np.uint32)
    pairs = np.empty((2, n * (LEAF - 1) // 2), np.uint32)
    n_pairs = _plan(rank, ordered, below, pairs)
    first, second = pairs[:, :n_pairs]
    rows = aligned((len(owner), BLOCK), blocks.dtype)
    prefix = aligned(((LEAF << n_levels) // 2 + 1, BLOCK), blocks.dtype)
    sums = np.empty((len(blocks), BLOCK), np.int32 if blocks.dtype == np.int16 else np.int64)
    _count(unit[ordered], row[ordered], below, unit[first], row[second], owner, own, blocks, rows, prefix, sums)
    return sums


def _rows(unit: A, own: A, blocks: A, most: tuple[float, float]) -> tuple[A, A, A, A]:
    """Return the row that sums what lies below each model [n], each row's unit and own pairs, and the weights.

    One row for each unit is best: there are fewer to be multiplied in the end. Where such a sum, over the models of a
    unit, may exceed the type of the weights, each model has a row; where that may as well, the weights get 32 bits.
    """
    size, weight = most
    limit, inside = np.iinfo(blocks.dtype).max, weight * own.max(initial=0)
    unit = unit.astype(np.uint32)
    if size * np.bincount(unit).max() + inside <= limit:
        return unit, np.arange(len(own), dtype=np.uint32), own, blocks
    once = np.zeros(len(unit), np.int64)
    units, first = np.unique(unit, return_index=True)
    once[first] = own[units]
    if size + inside > limit and blocks.dtype == np.int16:
        wide = aligned(blocks.shape, np.int32)
        wide[:] = blocks
        blocks = wide
    return np.arange(len(unit), dtype=np.uint32), unit, once, blocks


def _n_levels(n: int) -> int:
    """Return how many times parts of LEAF models are merged two by two until one is left."""
    return max(0, -(-n // LEAF) - 1).bit_length()


@compiled
def _plan(rank: A, ordered: A, below: A, pairs: A) -> int:
    """Sort the models by rank in parts that double, and find how many of each first part lie below those of the second.

    ``ordered`` [levels + 1, n] lists places in x, part by part; ``below`` [levels + 1, n] is filled for second parts.
    ``pairs`` [2, ...] are the concordant pairs inside the smallest parts; their number is returned.
    """
    n, n_pairs, level, width = len(rank), 0, 0, LEAF
    for start in range(0, n, LEAF):
        for b in range(start, min(start + LEAF, n)):
            for a in range(start, b):
                if rank[a] < rank[b]:
                    pairs[0, n_pairs], pairs[1, n_pairs] = a, b
                    n_pairs += 1
            k = b
            while k > start and rank[ordered[0, k - 1]] > rank[b]:
                ordered[0, k] = ordered[0, k - 1]
                k -= 1
            ordered[0, k] = b
    while width < n:
        source, merged, lower = ordered[level], ordered[level + 1], below[level]
        for start in range(0, n, 2 * width):
            middle = min(start + width, n)
            a = k = start
            for b in range(middle, min(middle + width, n)):
                while a < middle and rank[source[a]] < rank[source[b]]:
                    merged[k] = source[a]
                    a += 1
                    k += 1
                lower[b] = a - start
                merged[k] = source[b]
                k += 1
            for left in range(a, middle):
                merged[k] = source[left]
                k += 1
        level += 1
        width *= 2
    return n_pairs


@compiled
def _count(
    unit: A, row: A, below: A, first: A, second: A, owner: A, own: A, blocks: A, rows: A, prefix: A, sums: A
) -> None:
    """Sum the weights below the models into ``rows`` [rows, BLOCK], and those times their own into ``sums``.

    ``unit`` and ``row`` [levels + 1, n] are those of the models that ``_plan`` orders, ``first`` and ``second`` [pairs]
    of its pairs; ``owner`` and ``own`` [rows] each row's unit, and the concordant pairs that count w instead of w^2.
    """
    n = unit.shape[1]
    for block in range(len(blocks)):
        weights = blocks[block]
        for k in range(len(rows)):
            mine, w, pairs = rows[k], weights[owner[k]], rows.dtype.type(own[k])
            for b in range(BLOCK):
                mine[b] = pairs - pairs * w[b]
        add_rows(rows, second, weights, first, (0, len(first)))
        level, width = 0, LEAF
        while width < n:
            for start in range(0, n - width, 2 * width):
                middle = start + width
                running_rows(prefix, weights, unit[level], (start, middle))
                add_rows(rows, row[level], prefix, below[level], (middle, min(middle + width, n)))
            level += 1
            width *= 2
        dot_rows(sums[block], weights, owner, rows)
