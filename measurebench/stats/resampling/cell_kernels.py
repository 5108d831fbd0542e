"""Counts of pairs of models by the cells that both lie in, with the models of a cell as bits."""

from typing import Any

import numpy as np

from measurebench.core.compiled import compiled
from measurebench.stats.resampling.compiled import ones_in

__all__ = ["pairs_by_cell"]

A = np.ndarray[Any, Any]


@compiled
def pairs_by_cell(by_x: A, ends: A, before: A, own: A, masks: A, sizes: A, starts: A, smaller: A, tied: A) -> None:
    """Add up, cell by cell, the pairs (i, j) of y_j < y_i and x_j < x_i, into ``smaller``, or x_j = x_i, into ``tied``.

    Models are numbered by their y: ``before`` [n] says how many have a smaller one. ``by_x`` [n] lists them by x,
    ``ends`` [n] says where a value of x is the last of its kind. ``own`` [sets, n] is each model's cell in every set,
    of which ``sizes`` [sets] tells the number of cells; ``masks`` [cells of all sets, words] has the models of a cell
    as bits. The table of a set, [its cells, its cells], begins at ``starts`` [sets].
    """
    words, equal = np.zeros((2, masks.shape[1]), np.uint64)
    first, one = 0, np.uint64(1)
    for k in range(len(by_x)):
        _add(by_x[k], words, before, own, masks, sizes, starts, smaller)
        if not ends[k]:
            continue
        equal[:] = 0
        for j in range(first, k + 1):
            equal[by_x[j] >> 6] |= one << np.uint64(by_x[j] & 63)
        if first < k:
            for j in range(first, k + 1):
                _add(by_x[j], equal, before, own, masks, sizes, starts, tied)
        words |= equal
        first = k + 1


@compiled
def _add(i: Any, words: A, before: A, own: A, masks: A, sizes: A, starts: A, counts: A) -> None:
    """Add the models whose bits are set and whose y is smaller than that of i to the row of the cell of i."""
    full = before[i] >> 6
    rest = (np.uint64(1) << np.uint64(before[i] & 63)) - np.uint64(1)
    cell = 0
    for s in range(len(sizes)):
        row = starts[s] + own[s, i] * sizes[s]
        for c in range(sizes[s]):
            mask, count = masks[cell], np.int64(0)
            for w in range(full):
                count += np.int64(ones_in(words[w] & mask[w]))
            counts[row + c] += count + np.int64(ones_in(words[full] & mask[full] & rest))
            cell += 1
