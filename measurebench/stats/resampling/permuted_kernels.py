"""Counts of concordant pairs for many permutations of a target at once, and the signs of pairs after each.

The models that came before one in the order of a measure are bits in the order of the target, so that those below it
are counted word by word. Sums are of whole numbers and exact, whatever the order.
"""

from typing import Any

import numpy as np

from measurebench.core.compiled import compiled
from measurebench.stats.resampling.compiled import add_shared_bits, ones_in

__all__ = ["models_below", "moved_signs", "permuted_bits", "permuted_concordance", "sort_ranks"]

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
def moved_signs(rank: A, moved: A, i: A, j: A, signs: A) -> None:
    """Write sign(x_i - x_j) of pairs after each exchange into ``signs`` [permutations, pairs].

    ``rank`` [n] is that of x, ``moved`` [permutations, n] says whose x each model takes, ``i`` and ``j`` [pairs].
    """
    own = np.empty_like(rank)
    for draw in range(len(moved)):
        whose, found = moved[draw], signs[draw]
        for k in range(len(own)):
            own[k] = rank[whose[k]]
        for k in range(len(i)):
            left, right = own[i[k]], own[j[k]]
            found[k] = (left > right) * 1.0 - (left < right) * 1.0


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
    """Set bit j of ``below`` [n, words, LANES], which is zero, for the models j of a smaller value than model i.

    ``orders`` and ``ends`` [measures, n] list the models by measure, as in ``permuted_concordance``; LANES measures at
    most, and the lanes of the others stay zero.
    """
    n_measures, n = orders.shape
    words, one = np.zeros(below.shape[1], np.uint64), np.uint64(1)
    for m in range(n_measures):
        words[:] = 0
        first = 0
        for k in range(n):
            mine = below[orders[m, k]]
            for w in range(len(words)):
                mine[w, m] = words[w]
            if ends[m, k]:
                for j in range(first, k + 1):
                    i = orders[m, j]
                    words[i >> 6] |= one << np.uint64(i & 63)
                first = k + 1


@compiled
def permuted_bits(below: A, targets: A, sorted_targets: A, signs: A) -> None:
    """Sum sign(x_i - x_j) sign(t_i - t_j) over ordered pairs, into ``signs`` [measures, versions].

    The same as ``permuted_concordance`` by another way, faster for up to some thousand models: ``below`` [n, words,
    LANES] has the models of smaller x as bits (``models_below``), and those of a smaller target are bits that grow as
    the models are taken in its order. A pair is concordant where both bits are set. Of two models with equal targets
    that differ in x, one is below the other: such a pair counts once, beside the twice of a concordant one.
    """
    n, n_words, n_lanes = below.shape
    one, everything = np.uint64(1), np.full(n_words, ~np.uint64(0))
    untied = np.zeros(n_lanes, np.int64)
    for i in range(n):
        add_shared_bits(untied, below[i], everything)
    seen, counts = np.zeros(n_words, np.uint64), np.zeros((2, n_lanes), np.int64)
    for version in range(len(targets)):
        target, ordered = targets[version], sorted_targets[version]
        seen[:] = 0
        counts[:] = 0
        start = 0
        while start < n:
            stop = start + 1
            while stop < n and target[ordered[stop]] == target[ordered[start]]:
                stop += 1
            # Few equal targets are compared pair by pair; of many, what they add is counted by words as well.
            few = stop - start <= n_words
            into = counts[np.int64(few)]
            for k in range(start, stop):
                add_shared_bits(into, below[ordered[k]], seen)
            for k in range(start, stop):
                i = ordered[k]
                seen[i >> 6] |= one << np.uint64(i & 63)
            if not few:
                for k in range(start, stop):
                    add_shared_bits(into, below[ordered[k]], seen)
            elif stop > start + 1:
                for k in range(start, stop):
                    i = ordered[k]
                    mine, word, bit = below[i], i >> 6, np.uint64(i & 63)
                    for other in range(k + 1, stop):
                        j = ordered[other]
                        theirs, word_j, bit_j = below[j], j >> 6, np.uint64(j & 63)
                        for m in range(n_lanes):
                            once = ((theirs[word, m] >> bit) | (mine[word_j, m] >> bit_j)) & one
                            counts[0, m] += np.int64(once)
            start = stop
        for m in range(len(signs)):
            signs[m, version] = 2 * (counts[0, m] + 2 * counts[1, m] - untied[m])
