"""Compares models by their verdicts on the same examples: McNemar's test, paired intervals and tiers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from measurebench.core.errors import BadInputError
from measurebench.core.intervals import ALPHA, Z
from measurebench.stats.judging.adjustment import holm

__all__ = ["Paired", "compare_pairs", "paired", "tiers"]

Verdicts = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Paired:
    """The difference of two accuracies on the same n examples, with its 95 % interval and McNemar's exact p-value.

    ``only_first`` and ``only_second`` count the examples that one model alone gets right.
    """

    n: int
    only_first: int
    only_second: int
    difference: float
    low: float
    high: float
    p_value: float


def paired(first: Verdicts, second: Verdicts) -> Paired:
    """Compare two models by their verdicts [n] on the same examples, true where the model is right under attack.

    p is exact: under equal accuracies each discordant example goes either way with probability 1/2 (McNemar 1947). The
    interval is Wald's with half an example added to each of the four cells (Agresti and Min 2005), which holds up where
    few examples are discordant. Raises BadInputError for verdicts of different or no examples.

    >>> found = paired(np.array([True] * 9 + [False]), np.array([True] * 4 + [False] * 6))
    >>> (found.only_first, found.only_second, round(found.difference, 2), found.p_value)
    (5, 0, 0.5, 0.0625)
    """
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise BadInputError("verdicts", "two of the same length [n]", f"{first.shape} and {second.shape}")
    return _of_counts(len(first), int((first & ~second).sum()), int((second & ~first).sum()))


@cache
def _of_counts(n: int, b: int, c: int) -> Paired:
    """Return the comparison of two models of which one alone is right on b, the other alone on c of n examples."""
    from scipy.stats import binomtest

    p = float(binomtest(b, b + c).pvalue) if b + c else 1.0
    total, up, down = n + 2, b + 0.5, c + 0.5
    center = (up - down) / total
    half = Z * float(np.sqrt(up + down - (up - down) ** 2 / total)) / total
    return Paired(n, b, c, (b - c) / n, max(-1.0, center - half), min(1.0, center + half), p)


def compare_pairs(verdicts: Verdicts) -> tuple[list[tuple[int, int, Paired]], list[float]]:
    """Return every pair i < j of models with its comparison, and Holm's adjusted p-values; verdicts [models, n]."""
    k, n = verdicts.shape
    # Entry [i, j] counts the examples that i alone gets right: floats, since only they are multiplied fast.
    alone = verdicts.astype(np.float64) @ (~verdicts).astype(np.float64).T
    found = [(i, j, _of_counts(n, int(alone[i, j]), int(alone[j, i]))) for i in range(k) for j in range(i + 1, k)]
    return found, holm(np.array([each.p_value for _, _, each in found])).tolist() if found else []


def tiers(names: Sequence[str], verdicts: Verdicts, alpha: float = ALPHA) -> list[list[str]]:
    """Return the names in tiers, the most accurate first; verdicts [models, n].

    A tier begins with the best model that no tier holds yet, and takes in those that follow it as long as none differs
    from it at ``alpha``, adjusted by Holm over all pairs. Two models of one tier other than its first may differ.

    >>> rows = np.array([[True] * 100, [True] * 98 + [False] * 2, [False] * 100])
    >>> tiers(["a", "b", "c"], rows)
    [['a', 'b'], ['c']]
    """
    found, adjusted = compare_pairs(verdicts)
    p = {frozenset((i, j)): value for (i, j, _), value in zip(found, adjusted, strict=True)}
    order = sorted(range(len(names)), key=lambda i: -int(verdicts[i].sum()))
    result: list[list[int]] = []
    for i in order:
        if result and p[frozenset((result[-1][0], i))] > alpha:
            result[-1].append(i)
        else:
            result.append([i])
    return [[names[i] for i in tier] for tier in result]
