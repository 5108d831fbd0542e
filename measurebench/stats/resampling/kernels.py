"""Sums over pairs of models in n log n steps, for many bootstrap draws at once.

The kernels take the models in the order of one quantity and look each one up among those that came before it by the
rank of the other (Knight 1966). Models of equal value are looked up before any of them is entered, so that ties count
nothing. Sums are of whole numbers and exact, whatever the order.
"""

from typing import Any

import numpy as np

from measurebench.core.compiled import compiled
from measurebench.stats.resampling.vectors import BLOCK

__all__ = [
    "drawn_spearman",
    "drawn_ties",
    "heavy_concordance",
    "heavy_ties",
    "in_blocks",
    "own_concordant",
    "own_pairs",
    "row_concordance",
]

A = np.ndarray[Any, Any]


@compiled
def in_blocks(weights: A, blocks: A) -> None:
    """Copy weights [draws, units] into ``blocks`` [blocks, units, BLOCK]."""
    for draw in range(len(weights)):
        block, place = draw // BLOCK, draw % BLOCK
        for unit in range(weights.shape[1]):
            blocks[block, unit, place] = weights[draw, unit]


@compiled
def _signed(tree: A, held: A, inserted: A, rank: int, signed: A) -> None:
    """Sum the weights of smaller rank less those of larger rank among the models entered, into ``signed`` [BLOCK]."""
    at = held[rank]
    for b in range(BLOCK):
        signed[b] = at[b] - inserted[b]
    while rank > 0:
        row = tree[rank]
        for b in range(BLOCK):
            signed[b] += 2 * row[b]
        rank -= rank & -rank


@compiled
def heavy_concordance(order: A, ends: A, rank: A, local: A, heavy: A, blocks: A, own: A, sums: A) -> None:
    """Sum w_i w_j (h_i + h_j) / 2 sign(x_i - x_j) sign(y_i - y_j) over ordered pairs, into ``sums`` [blocks, BLOCK].

    ``order`` [n] lists the models by x, ``ends`` [n] is 1 where a value of x is the last of its kind, ``rank`` [n] is
    the dense rank of y, ``local`` [n] the unit, ``heavy`` [n] is h; ``blocks`` [blocks, units, BLOCK] are the weights.
    Pairs of one unit, ``own`` [units], count w instead of w^2.

    A pair counts h_i in one order and h_j in the other, so that each model counts h_i w_i times a whole number: the sum
    of w_j sign(y_i - y_j) over smaller x less that over larger x. The latter is what is left of the sum over all models
    when those up to x_i are entered. The sums are kept in a binary indexed tree (Fenwick 1994) of the weights' type,
    which must hold the size of a draw.
    """
    n, n_ranks = len(order), rank.max() + 1
    tree, held = np.empty((n_ranks + 1, BLOCK), blocks.dtype), np.empty((n_ranks, BLOCK), blocks.dtype)
    inserted, signed = np.empty(BLOCK, blocks.dtype), np.empty(BLOCK, blocks.dtype)
    for block in range(len(blocks)):
        weights, total = blocks[block], sums[block]
        tree[:] = 0
        held[:] = 0
        inserted[:] = 0
        total[:] = 0
        first = 0
        for k in range(n):
            i = order[k]
            _signed(tree, held, inserted, rank[i], signed)
            alone = ends[k] and first == k
            w, h = weights[local[i]], (1 + alone) * heavy[i]
            for b in range(BLOCK):
                total[b] += h * w[b] * signed[b]
            if not ends[k]:
                continue
            for j in range(first, k + 1):
                g, w = rank[order[j]], weights[local[order[j]]]
                at = held[g]
                for b in range(BLOCK):
                    at[b] += w[b]
                    inserted[b] += w[b]
                g += 1
                while g <= n_ranks:
                    row = tree[g]
                    for b in range(BLOCK):
                        row[b] += w[b]
                    g += g & -g
            if not alone:
                for j in range(first, k + 1):
                    i = order[j]
                    _signed(tree, held, inserted, rank[i], signed)
                    w, h = weights[local[i]], heavy[i]
                    for b in range(BLOCK):
                        total[b] += h * w[b] * signed[b]
            first = k + 1
        # From here on ``held`` is the sum over all models of w_j sign(y_i - y_j), by rank, and ``signed`` that below.
        for b in range(BLOCK):
            signed[b] = -inserted[b]
        for g in range(n_ranks):
            at = held[g]
            for b in range(BLOCK):
                signed[b] += at[b]
                at[b], signed[b] = signed[b], signed[b] + at[b]
        for i in range(n):
            at, w, h = held[rank[i]], weights[local[i]], heavy[i]
            for b in range(BLOCK):
                total[b] -= h * w[b] * at[b]
        for unit in range(len(own)):
            if own[unit] != 0:
                w = weights[unit]
                for b in range(BLOCK):
                    total[b] -= np.float64(w[b]) * (w[b] - 1) * own[unit]


@compiled
def drawn_ties(order: A, ends: A, local: A, blocks: A, own: A, sums: A) -> None:
    """Sum w_i w_j over ordered pairs of different models of equal values, into ``sums`` [blocks, BLOCK].

    ``order`` and ``ends`` [n] list the models by value, at least those that share it. Pairs of one unit count w; so do
    as many further pairs of each unit as ``own`` [units] says, less their w^2. ``sums`` are whole numbers of a type
    that holds the square of a draw's size.
    """
    pairs, seen, tied, first = own.copy(), np.zeros(len(own), np.int64), np.empty(len(order), np.int64), 0
    n_tied, last = 0, np.empty(len(order), np.bool_)
    for k in range(len(order)):
        if ends[k] and first < k:
            for j in range(first, k + 1):
                unit = local[order[j]]
                pairs[unit] += 2 * seen[unit]
                seen[unit] += 1
                tied[n_tied], last[n_tied] = unit, j == k
                n_tied += 1
            for j in range(first, k + 1):
                seen[local[order[j]]] = 0
        if ends[k]:
            first = k + 1
    group = np.empty(BLOCK, sums.dtype)
    for block in range(len(blocks)):
        weights, total = blocks[block], sums[block]
        total[:] = 0
        group[:] = 0
        for k in range(n_tied):
            w = weights[tied[k]]
            for b in range(BLOCK):
                total[b] += 2 * group[b] * w[b]
                group[b] += w[b]
            if last[k]:
                group[:] = 0
        for unit in range(len(own)):
            inside = pairs[unit]
            if inside:
                w = weights[unit]
                for b in range(BLOCK):
                    group[b] = w[b]
                    total[b] -= group[b] * (group[b] - 1) * inside


@compiled
def heavy_ties(order: A, ends: A, local: A, heavy: A, blocks: A, own: A, sums: A) -> None:
    """Sum w_i w_j (h_i + h_j) / 2 over ordered pairs of equal values; see ``drawn_ties``."""
    group, loaded = np.empty(BLOCK), np.empty(BLOCK)
    for block in range(len(blocks)):
        weights, total = blocks[block], sums[block]
        total[:] = 0
        group[:] = 0
        loaded[:] = 0
        for k in range(len(order)):
            w, h = weights[local[order[k]]], heavy[order[k]]
            for b in range(BLOCK):
                group[b] += w[b]
                loaded[b] += h * w[b]
            if ends[k]:
                for b in range(BLOCK):
                    total[b] += group[b] * loaded[b]
                    group[b] = 0
                    loaded[b] = 0
        for unit in range(len(own)):
            w = weights[unit]
            for b in range(BLOCK):
                total[b] -= np.float64(w[b]) * (w[b] - 1) * own[unit]


@compiled
def own_concordant(members: A, starts: A, x: A, y: A, own: A) -> None:
    """Count the concordant pairs of each unit, unordered, into ``own`` [units]; see ``own_pairs``."""
    for unit in range(len(own)):
        count = 0
        for a in range(starts[unit], starts[unit + 1]):
            i = members[a]
            for b in range(starts[unit], a):
                j = members[b]
                count += (x[i] > x[j]) & (y[i] > y[j])
                count += (x[i] < x[j]) & (y[i] < y[j])
        own[unit] = count


@compiled
def own_pairs(members: A, starts: A, x: A, y: A, heavy: A, own: A) -> None:
    """Sum (h_i + h_j) / 2 sign(x_i - x_j) sign(y_i - y_j) over the ordered pairs of each unit, into ``own`` [units].

    ``members`` [n] lists the models by unit; those of unit u start at ``starts[u]`` [units + 1].
    """
    for unit in range(len(own)):
        total = 0.0
        for a in range(starts[unit], starts[unit + 1]):
            i = members[a]
            for b in range(starts[unit], a):
                j = members[b]
                product = ((x[i] > x[j]) - (x[i] < x[j])) * ((y[i] > y[j]) - (y[i] < y[j]))
                total += product * (heavy[i] + heavy[j])
        own[unit] = total


@compiled
def _drawn_ranks(order: A, ends: A, local: A, weights: A, size: A, doubled: A, spread: A) -> None:
    """Write twice the centred mid-ranks among the drawn models, into ``doubled`` [n, BLOCK], and their spread."""
    before, group = np.zeros(BLOCK), np.zeros(BLOCK)
    for b in range(BLOCK):
        spread[b] = size[b] * size[b] * size[b]
    first = 0
    for k in range(len(order)):
        w = weights[local[order[k]]]
        for b in range(BLOCK):
            group[b] += w[b]
        if ends[k]:
            for j in range(first, k + 1):
                row = doubled[order[j]]
                for b in range(BLOCK):
                    row[b] = 2 * before[b] + group[b] - size[b]
            for b in range(BLOCK):
                spread[b] -= group[b] * group[b] * group[b]
                before[b] += group[b]
                group[b] = 0
            first = k + 1
    for b in range(BLOCK):
        spread[b] /= 12


@compiled
def drawn_spearman(order_x: A, ends_x: A, order_y: A, ends_y: A, local: A, blocks: A, products: A, spreads: A) -> None:
    """Sum w times both centred mid-ranks in every draw, and multiply the sums of their squares: [blocks, BLOCK] each.

    Twice the ranks are whole numbers, so that the products are exact.
    """
    n = len(order_x)
    ranks_x, ranks_y = np.empty((n, BLOCK)), np.empty((n, BLOCK))
    spread_x, spread_y, size = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for block in range(len(blocks)):
        weights, total = blocks[block], products[block]
        size[:] = 0
        for i in range(n):
            w = weights[local[i]]
            for b in range(BLOCK):
                size[b] += w[b]
        _drawn_ranks(order_x, ends_x, local, weights, size, ranks_x, spread_x)
        _drawn_ranks(order_y, ends_y, local, weights, size, ranks_y, spread_y)
        total[:] = 0
        for i in range(n):
            w, of_x, of_y = weights[local[i]], ranks_x[i], ranks_y[i]
            for b in range(BLOCK):
                total[b] += w[b] * of_x[b] * of_y[b]
        for b in range(BLOCK):
            total[b] /= 4
            spreads[block, b] = spread_x[b] * spread_y[b]


@compiled
def row_concordance(x: A, y: A, sums: A) -> None:
    """Sum sign(x_i - x_j) sign(y_i - y_j) over j for each i, into ``sums`` [n]."""
    for i in range(len(x)):
        total = 0
        for j in range(len(x)):
            total += ((x[i] > x[j]) - (x[i] < x[j])) * ((y[i] > y[j]) - (y[i] < y[j]))
        sums[i] = total
