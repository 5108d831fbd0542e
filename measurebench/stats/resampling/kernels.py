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
    "drawn_cubes",
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
    pairs, once, seen = own.copy(), np.zeros(len(own), np.int64), np.zeros(len(own), np.int64)
    tied, last, n_tied, first = np.empty(len(order), np.int64), np.empty(len(order), np.bool_), 0, 0
    for k in range(len(order)):
        if not ends[k]:
            continue
        size, unit, start = k + 1 - first, local[order[k]], n_tied
        if size > 1:
            for j in range(first, k + 1):
                mine = local[order[j]]
                pairs[mine] += 2 * seen[mine]
                seen[mine] += 1
                tied[n_tied], last[n_tied] = mine, j == k
                n_tied += 1
            if seen[unit] == size:  # all of one unit, such as a checkpoint that was saved twice
                once[unit] += size * (size - 1)
                pairs[unit] -= size * (size - 1)
                n_tied = start
            for j in range(first, k + 1):
                seen[local[order[j]]] = 0
        first = k + 1
    group = np.empty(BLOCK, sums.dtype)
    for block in range(len(blocks)):
        weights, total = blocks[block], sums[block]
        total[:] = 0
        group[:] = 0
        for k in range(n_tied):
            unit = tied[k]
            for b in range(BLOCK):
                total[b] += 2 * group[b] * weights[unit, b]
                group[b] += weights[unit, b]
            if last[k]:
                group[:] = 0
        for unit in range(len(own)):
            inside, count = pairs[unit], once[unit]
            if inside:
                for b in range(BLOCK):
                    group[b] = weights[unit, b]
                    total[b] -= group[b] * (group[b] - 1) * inside
            if count:
                for b in range(BLOCK):
                    total[b] += count * weights[unit, b]


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
def drawn_cubes(sizes: A, blocks: A, sums: A) -> None:
    """Sum w^3 over the models, of which each unit has ``sizes`` [units], into ``sums`` [blocks, BLOCK]."""
    for block in range(len(blocks)):
        weights, total = blocks[block], sums[block]
        total[:] = 0
        for unit in range(len(sizes)):
            w, models = weights[unit], np.float64(sizes[unit])
            for b in range(BLOCK):
                v = np.float64(w[b])
                total[b] += v * v * v * models


@compiled
def _drawn_ranks(order: A, ends: A, local: A, weights: A, size: A, ranks: A, tied: A) -> None:
    """Write twice the centred mid-ranks among the drawn models into ``ranks`` [n, BLOCK].

    Adds to ``tied`` [BLOCK] the cubes of groups of equal values, less those of their models.
    """
    before, group = -size, np.zeros(BLOCK, size.dtype)
    first = 0
    for k in range(len(order)):
        i, unit = order[k], local[order[k]]
        if ends[k] and first == k:
            for b in range(BLOCK):
                ranks[i, b] = before[b] + weights[unit, b]
            for b in range(BLOCK):
                before[b] += 2 * weights[unit, b]
            first = k + 1
        elif first == k:
            for b in range(BLOCK):
                group[b] = weights[unit, b]
        else:
            for b in range(BLOCK):  # (g + w)^3 = g^3 + w^3 + 3 g w (g + w)
                w = weights[unit, b]
                both = np.float64(np.int32(group[b]) * np.int32(w))
                group[b] += w
                tied[b] += 3 * both * np.float64(group[b])
            if ends[k]:
                for j in range(first, k + 1):
                    i = order[j]
                    for b in range(BLOCK):
                        ranks[i, b] = before[b] + group[b]
                for b in range(BLOCK):
                    before[b] += 2 * group[b]
                first = k + 1


@compiled
def drawn_spearman(
    order_x: A, ends_x: A, order_y: A, ends_y: A, sizes: A, local: A, blocks: A, products: A, tied: A
) -> None:
    """Sum w times both centred mid-ranks in every draw, into ``products`` [blocks, BLOCK].

    ``tied`` [2, blocks, BLOCK] sums the cubes of groups of equal values less those of their models, of x and of y;
    ``sizes`` [units] are the numbers of models. Twice a rank is a whole number of at most the size of a draw, which the
    type of the weights must hold; the products are exact.
    """
    n, kind = len(order_x), blocks.dtype
    ranks_x, ranks_y, size = np.empty((n, BLOCK), kind), np.empty((n, BLOCK), kind), np.empty(BLOCK, kind)
    tied[:] = 0
    for block in range(len(blocks)):
        weights, total = blocks[block], products[block]
        size[:] = 0
        for unit in range(len(sizes)):
            w, models = weights[unit], sizes[unit]
            for b in range(BLOCK):
                size[b] += w[b] * models
        _drawn_ranks(order_x, ends_x, local, weights, size, ranks_x, tied[0, block])
        _drawn_ranks(order_y, ends_y, local, weights, size, ranks_y, tied[1, block])
        total[:] = 0
        for i in range(n):
            unit = local[i]
            for b in range(BLOCK):
                weighted = np.int32(weights[unit, b]) * np.int32(ranks_x[i, b])
                total[b] += np.float64(weighted) * np.float64(ranks_y[i, b])
        for b in range(BLOCK):
            total[b] /= 4


@compiled
def row_concordance(x: A, y: A, sums: A) -> None:
    """Sum sign(x_i - x_j) sign(y_i - y_j) over j for each i, into ``sums`` [n]."""
    for i in range(len(x)):
        total = 0
        for j in range(len(x)):
            total += ((x[i] > x[j]) - (x[i] < x[j])) * ((y[i] > y[j]) - (y[i] < y[j]))
        sums[i] = total
