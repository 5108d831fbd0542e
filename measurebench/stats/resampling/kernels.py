"""Counts of concordant pairs in n log n steps, for many permutations or many bootstrap draws at once.

All kernels take the models in the order of one quantity and look each one up among those that came before it by the
rank of the other (Knight 1966). Models of equal value are looked up before any of them is entered, so that ties count
nothing. Sums are of whole numbers and exact, whatever the order.
"""

from typing import Any

import numpy as np

from measurebench.stats.resampling.compiled import compiled, ones_in

__all__ = [
    "BLOCK",
    "drawn_concordance",
    "drawn_spearman",
    "drawn_ties",
    "heavy_concordance",
    "heavy_ties",
    "models_below",
]
__all__ += [
    "in_blocks",
    "moved_signs",
    "own_pairs",
    "permuted_bits",
    "permuted_concordance",
    "row_concordance",
    "sort_ranks",
]

BLOCK = 64
"""Bootstrap draws that are counted side by side: four vector registers, and trees that stay in the cache."""

A = np.ndarray[Any, Any]


@compiled
def permuted_concordance(orders: A, ends: A, targets: A, sorted_targets: A, signs: A) -> None:
    """Sum sign(x_i - x_j) sign(t_i - t_j) over ordered pairs, into ``signs`` [measures, versions].

    ``orders`` [measures, n] lists the models by measure, ``ends`` [measures, n] is 1 where a value is the last of its
    kind; ``targets`` [versions, n] and ``sorted_targets`` [versions, n] the models by target.

    The models that came before are bits in the order of the target. How many lie below one is the count of bits in
    the words below, which is kept, and in its own word.
    """
    n = targets.shape[1]
    low, high, slot = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    n_words = n // 64 + 1
    words, below = np.zeros(n_words, np.uint64), np.zeros(n_words, np.int32)
    one = np.uint64(1)
    for version in range(len(targets)):
        target, ordered = targets[version], sorted_targets[version]
        start = 0
        while start < n:
            stop = start + 1
            while stop < n and target[ordered[stop]] == target[ordered[start]]:
                stop += 1
            for k in range(start, stop):
                low[ordered[k]], high[ordered[k]], slot[ordered[k]] = start, stop, k
            start = stop
        for m in range(len(orders)):
            words[:] = 0
            below[:] = 0
            total, first = 0, 0
            for k in range(n):
                i = orders[m, k]
                word, bit = low[i] >> 6, np.uint64(low[i] & 63)
                less = below[word] + np.int64(ones_in(words[word] & ((one << bit) - one)))
                upto = less
                if high[i] > low[i] + 1:
                    word, bit = high[i] >> 6, np.uint64(high[i] & 63)
                    upto = below[word] + np.int64(ones_in(words[word] & ((one << bit) - one)))
                total += less + upto - first
                if ends[m, k]:
                    for j in range(first, k + 1):
                        place = slot[orders[m, j]]
                        words[place >> 6] |= one << np.uint64(place & 63)
                        for w in range((place >> 6) + 1, n_words):
                            below[w] += 1
                    first = k + 1
            signs[m, version] = 2 * total


@compiled
def in_blocks(weights: A, blocks: A) -> None:
    """Copy weights [draws, units] into ``blocks`` [blocks, units, BLOCK]."""
    for draw in range(len(weights)):
        block, place = draw // BLOCK, draw % BLOCK
        for unit in range(weights.shape[1]):
            blocks[block, unit, place] = weights[draw, unit]


@compiled
def moved_signs(rank: A, moved: A, i: A, j: A, signs: A) -> None:
    """Write sign(x_i - x_j) of pairs after each exchange into ``signs`` [permutations, pairs].

    ``rank`` [n] is that of x, ``moved`` [permutations, n] says whose x each model takes, ``i`` and ``j`` [pairs].
    """
    for draw in range(len(moved)):
        whose = moved[draw]
        for k in range(len(i)):
            left, right = rank[whose[i[k]]], rank[whose[j[k]]]
            signs[draw, k] = (left > right) - (left < right)


@compiled
def sort_ranks(targets: A, ordered: A) -> None:
    """List the models of each version by target into ``ordered``; both [versions, n], targets small whole numbers."""
    most = 0
    for version in range(len(targets)):
        most = max(most, targets[version].max())
    start = np.empty(most + 2, np.int64)
    for version in range(len(targets)):
        start[:] = 0
        for rank in targets[version]:
            start[rank + 1] += 1
        for rank in range(most + 1):
            start[rank + 1] += start[rank]
        for i in range(targets.shape[1]):
            rank = targets[version, i]
            ordered[version, start[rank]] = i
            start[rank] += 1


@compiled
def models_below(orders: A, ends: A, below: A) -> None:
    """Set bit j of ``below`` [n, measures, words] for the models j of a smaller value than model i.

    ``orders`` and ``ends`` [measures, n] list the models by measure, as in ``permuted_concordance``.
    """
    n_measures, n = orders.shape
    words, one = np.zeros(below.shape[2], np.uint64), np.uint64(1)
    for m in range(n_measures):
        words[:] = 0
        first = 0
        for k in range(n):
            below[orders[m, k], m, :] = words
            if ends[m, k]:
                for j in range(first, k + 1):
                    i = orders[m, j]
                    words[i >> 6] |= one << np.uint64(i & 63)
                first = k + 1


@compiled
def _shared_bits(mine: A, seen: A) -> Any:
    """Count the bits set in both rows of words."""
    count = np.int64(0)
    for w in range(len(seen)):
        count += np.int64(ones_in(mine[w] & seen[w]))
    return count


@compiled
def permuted_bits(below: A, tied: A, targets: A, sorted_targets: A, signs: A) -> None:
    """Sum sign(x_i - x_j) sign(t_i - t_j) over ordered pairs, into ``signs`` [measures, versions].

    The same as ``permuted_concordance`` by another way, faster for up to some thousand models: ``below`` [n, measures,
    words] has the models of smaller x as bits (``models_below``), and those of a smaller target are bits that grow as
    the models are taken in its order. A pair is concordant where both bits are set. ``tied`` [measures] is 1 where a
    measure has ties; in any other all pairs of equal targets differ.
    """
    n, n_measures, n_words = below.shape
    one, everything = np.uint64(1), np.full(n_words, ~np.uint64(0))
    untied, total = np.zeros(n_measures, np.int64), np.zeros(n_measures, np.int64)
    for i in range(n):
        for m in range(n_measures):
            untied[m] += _shared_bits(below[i, m], everything)
    seen = np.zeros(n_words, np.uint64)
    for version in range(len(targets)):
        target, ordered = targets[version], sorted_targets[version]
        seen[:] = 0
        total[:] = -untied
        start, equal = 0, 0
        while start < n:
            stop = start + 1
            while stop < n and target[ordered[stop]] == target[ordered[start]]:
                stop += 1
            equal += (stop - start) * (stop - start - 1) // 2
            for k in range(start, stop):
                mine = below[ordered[k]]
                for m in range(n_measures):
                    total[m] += (2 - tied[m]) * _shared_bits(mine[m], seen)
            for k in range(start, stop):
                i = ordered[k]
                seen[i >> 6] |= one << np.uint64(i & 63)
            for m in range(n_measures):
                if tied[m]:
                    for k in range(start, stop):
                        total[m] += _shared_bits(below[ordered[k], m], seen)
            start = stop
        for m in range(n_measures):
            signs[m, version] = 2 * (total[m] + (0 if tied[m] else equal))


@compiled
def drawn_concordance(order: A, ends: A, rank: A, local: A, blocks: A, own: A, counted: A, sums: A) -> None:
    """Sum w_i w_j sign(x_i - x_j) sign(y_i - y_j) over ordered pairs in every draw, into ``sums`` [blocks, BLOCK].

    ``order`` [n] lists the models by x, ``ends`` [n] is 1 where a value of x is the last of its kind, ``rank`` [n] is
    the dense rank of y, ``local`` [n] the unit; ``blocks`` [blocks, units, BLOCK] are the weights. Pairs of one unit,
    ``own`` [units], count w instead of w^2. The sums are kept in a binary indexed tree (Fenwick 1994) of the weights'
    type, which must hold the size of a draw; ``counted`` [BLOCK] must hold its square.
    """
    n, n_ranks = len(order), rank.max() + 1
    tree, held = np.empty((n_ranks + 1, BLOCK), blocks.dtype), np.empty((n_ranks, BLOCK), blocks.dtype)
    inserted, less = np.empty(BLOCK, blocks.dtype), np.empty(BLOCK, blocks.dtype)
    for block in range(len(blocks)):
        weights, total = blocks[block], sums[block]
        tree[:] = 0
        held[:] = 0
        inserted[:] = 0
        counted[:] = 0
        first = 0
        for k in range(n):
            i = order[k]
            g = rank[i]
            at, w = held[g], weights[local[i]]
            for b in range(BLOCK):
                less[b] = at[b] - inserted[b]
            while g > 0:
                row = tree[g]
                for b in range(BLOCK):
                    less[b] += 2 * row[b]
                g -= g & -g
            for b in range(BLOCK):
                counted[b] += np.int32(w[b]) * np.int32(less[b])
            if ends[k]:
                for j in range(first, k + 1):
                    i = order[j]
                    g = rank[i]
                    at, w = held[g], weights[local[i]]
                    for b in range(BLOCK):
                        at[b] += w[b]
                        inserted[b] += w[b]
                    g += 1
                    while g <= n_ranks:
                        row = tree[g]
                        for b in range(BLOCK):
                            row[b] += w[b]
                        g += g & -g
                first = k + 1
        for b in range(BLOCK):
            total[b] = 2 * np.float64(counted[b])
        for unit in range(len(own)):
            if own[unit]:
                w = weights[unit]
                for b in range(BLOCK):
                    total[b] -= np.float64(w[b]) * (w[b] - 1) * own[unit]


@compiled
def heavy_concordance(order: A, ends: A, rank: A, local: A, heavy: A, blocks: A, own: A, sums: A) -> None:
    """Sum w_i w_j (h_i + h_j) / 2 sign sign over ordered pairs in every draw; see ``drawn_concordance``.

    ``heavy`` [n] is h.
    """
    n, n_ranks = len(order), rank.max() + 1
    # Twice a row: first the sums of w, then those of w h.
    tree, held = np.empty((n_ranks + 1, 2 * BLOCK)), np.empty((n_ranks, 2 * BLOCK))
    inserted, less, entry = np.empty(2 * BLOCK), np.empty(2 * BLOCK), np.empty(2 * BLOCK)
    for block in range(len(blocks)):
        weights, total = blocks[block], sums[block]
        tree[:] = 0
        held[:] = 0
        inserted[:] = 0
        total[:] = 0
        first = 0
        for k in range(n):
            i = order[k]
            g = rank[i]
            at, w, h = held[g], weights[local[i]], heavy[i]
            for b in range(2 * BLOCK):
                less[b] = at[b] - inserted[b]
            while g > 0:
                row = tree[g]
                for b in range(2 * BLOCK):
                    less[b] += 2 * row[b]
                g -= g & -g
            for b in range(BLOCK):
                total[b] += w[b] * (h * less[b] + less[BLOCK + b])
            if ends[k]:
                for j in range(first, k + 1):
                    i = order[j]
                    g = rank[i]
                    at, w, h = held[g], weights[local[i]], heavy[i]
                    for b in range(BLOCK):
                        entry[b] = w[b]
                        entry[BLOCK + b] = h * w[b]
                    for b in range(2 * BLOCK):
                        at[b] += entry[b]
                        inserted[b] += entry[b]
                    g += 1
                    while g <= n_ranks:
                        row = tree[g]
                        for b in range(2 * BLOCK):
                            row[b] += entry[b]
                        g += g & -g
                first = k + 1
        for unit in range(len(own)):
            if own[unit] != 0:
                w = weights[unit]
                for b in range(BLOCK):
                    total[b] -= np.float64(w[b]) * (w[b] - 1) * own[unit]


@compiled
def drawn_ties(order: A, ends: A, local: A, blocks: A, own: A, sums: A) -> None:
    """Sum w_i w_j over ordered pairs of different models of equal values, into ``sums`` [blocks, BLOCK].

    ``order`` and ``ends`` [tied] list the models by value, at least those that share it; ``own`` [units] are the pairs
    of one unit among them, models with themselves too, which count w.
    """
    group = np.empty(BLOCK, np.int32)
    for block in range(len(blocks)):
        weights, total = blocks[block], sums[block]
        total[:] = 0
        group[:] = 0
        for k in range(len(order)):
            w = weights[local[order[k]]]
            for b in range(BLOCK):
                group[b] += w[b]
            if ends[k]:
                for b in range(BLOCK):
                    total[b] += np.float64(group[b]) * (group[b] - 1)
                    group[b] = 0
        for unit in range(len(own)):
            if own[unit]:
                w = weights[unit]
                for b in range(BLOCK):
                    total[b] -= np.float64(w[b]) * (w[b] - 1) * own[unit]


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
