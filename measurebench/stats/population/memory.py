"""The memory that an analysis needs, checked before it starts."""

from collections.abc import Collection, Mapping

import numpy as np

from measurebench.core.errors import BadInputError
from measurebench.stats.population.population import Population
from measurebench.stats.resampling.draws import Ints, n_permutations

__all__ = ["BUDGET", "bytes_needed", "check_memory", "matched_pairs"]

BUDGET = 8 * 2**30
"""Bytes that an analysis may take besides what the program takes itself."""

# Bytes for each draw of each unit: the counts of the bootstrap as 16, 32 and 64 bits, and those of psi and sign error.
_PER_DRAW = 48

# Bytes for each pair of models that differ in one setting: its place, besides a sign of 8 bytes for each permutation.
_PER_PAIR = 100

# Bytes for each pair and each change from one level of its setting to another, in the sign errors.
_PER_CHANGE = 16

# Measures that are worked on at a time, and exchanges of all models that are kept besides one for each setting.
_AT_A_TIME, _EXCHANGES = 200, 4


def bytes_needed(
    n_models: int, n_units: int, n_measures: int, matched: Collection[tuple[int, int]], draws: int, permutations: int
) -> int:
    """Return about how many bytes an analysis takes; ``matched`` is what ``matched_pairs`` counts for each setting.

    >>> round(bytes_needed(10_000, 5_000, 20, [(10_000, 6)] * 9, 2000, 2000) / 2**30, 1)
    0.8
    """
    moved = n_permutations(n_models, permutations)
    of_units = _PER_DRAW * draws * n_units
    of_models = 8 * moved * n_models * (len(matched) + _EXCHANGES)
    of_pairs = sum((_PER_PAIR + 8 * moved + _PER_CHANGE * changes) * pairs for pairs, changes in matched)
    of_measures = 8 * draws * (n_measures + 2 * len(matched) * min(n_measures, _AT_A_TIME))
    return of_units + of_models + of_pairs + of_measures


def matched_pairs(levels: Mapping[str, list[str]]) -> dict[str, tuple[int, int]]:
    """Count for each setting the pairs of models that differ in it alone, and the changes from a level to another.

    ``levels`` names each model's level in every setting. The pairs are not listed.

    >>> matched_pairs({"a": ["x", "x", "y"], "b": ["1", "2", "1"]})
    {'a': (1, 1), 'b': (1, 1)}
    """
    codes = {axis: _coded(names) for axis, names in levels.items()}
    alike = _pairs_alike(list(codes.values()))
    found = {}
    for axis, own in codes.items():
        pairs = _pairs_alike([other for name, other in codes.items() if name != axis], len(own)) - alike
        n_levels = int(own.max()) + 1
        found[axis] = (pairs, min(pairs, n_levels * (n_levels - 1) // 2))
    return found


def _coded(names: list[str]) -> Ints:
    """Return the place of each name among the different ones in order: [n]; np.unique sorts texts slowly."""
    places = {name: k for k, name in enumerate(sorted(set(names)))}
    return np.array([places[name] for name in names], np.int64)


def _pairs_alike(codes: list[Ints], n: int = 0) -> int:
    """Count the pairs of models that agree in every one of these settings, [n] each; all pairs where there is none."""
    if not codes:
        return n * (n - 1) // 2
    sizes = np.unique(np.stack(codes, axis=1), axis=0, return_counts=True)[1].astype(np.int64)
    return int((sizes * (sizes - 1) // 2).sum())


def check_memory(population: Population, draws: int, permutations: int) -> None:
    """Raise BadInputError for a table whose analysis would take more than 8 GiB."""
    n, m = len(population.y), len(population.measures)
    matched = matched_pairs(population.levels)
    needed = bytes_needed(n, population.n_units, m, matched.values(), draws, permutations)
    if needed > BUDGET:
        pairs = sum(count for count, _ in matched.values())
        raise BadInputError(
            "the table",
            f"models and measures whose analysis takes {BUDGET >> 30} GiB at most",
            f"{n:,} models with {pairs:,} pairs that differ in one setting, and {m:,} measures, which take about "
            f"{needed / 2**30:.0f} GiB",
            "choose models with --where, fewer settings with --settings or fewer draws with --bootstrap",
        )
