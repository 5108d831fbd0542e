"""The memory that an analysis needs, checked before it starts."""

from measurebench.core.errors import BadInputError
from measurebench.stats.population.population import Population

__all__ = ["BUDGET", "bytes_needed", "check_memory"]

BUDGET = 8 * 2**30
"""Bytes that an analysis may take for its matrices of pairs."""

# Matrices of n by n that are alive at a time: four of float32 and three of int8.
_PER_PAIR = 19


def bytes_needed(n_models: int, n_units: int, n_measures: int) -> int:
    """Return about how many bytes the matrices of pairs take: some of all models, and one of all units per measure.

    >>> round(bytes_needed(10_000, 5_000, 20) / 2**30, 1)
    2.2
    """
    return _PER_PAIR * n_models**2 + n_measures * n_units**2


def check_memory(population: Population) -> None:
    """Raise BadInputError for a table whose matrices of pairs would not fit into the budget of 8 GiB."""
    n, m = len(population.y), len(population.measures)
    needed = bytes_needed(n, population.n_units, m)
    if needed > BUDGET:
        raise BadInputError(
            "the table",
            f"models and measures whose pairs take {BUDGET >> 30} GiB at most",
            f"{n:,} models and {m:,} measures, which take about {needed / 2**30:.0f} GiB",
            "choose models with --where or measures with --measures",
        )
