"""Pairs of models that agree in every setting but one, and how they share runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from measurebench.stats.population.population import Population
from measurebench.stats.resampling.draws import Floats, Ints
from measurebench.stats.statistics.registry import Asked

__all__ = ["Matching", "matching", "matching_rows", "matchings", "summed"]

_MOST = 2**62  # more combinations could not be numbered by one 64-bit number


@dataclass(frozen=True)
class Matching:
    """All pairs (i, j) of models that agree in every setting but ``axis``: arrays [pairs].

    ``group`` numbers the combination of the other settings, ``component`` the groups that share a training run:
    components are independent of each other and are what is resampled. ``low`` and ``high`` number the levels.
    ``strata`` [n] is each model's group (-1 without a partner), ``blocks`` [n] what an exchange moves as one: a run
    at one level.
    """

    axis: str
    levels: tuple[str, ...]
    i: Ints
    j: Ints
    group: Ints
    component: Ints
    low: Ints
    high: Ints
    strata: Ints
    blocks: Ints
    units: Ints

    @cached_property
    def n_groups(self) -> int:
        """How many combinations of the other settings hold a pair."""
        return len(np.unique(self.group))

    @cached_property
    def n_models(self) -> int:
        """How many models belong to some pair."""
        return len(np.unique(np.r_[self.i, self.j]))


def matching(axis: str, levels: Mapping[str, list[str]], units: Ints) -> Matching:
    """Return the pairs of models that differ in ``axis`` alone; ``levels`` names each model's level in every setting.

    ``units`` [n] numbers the training runs. Two levels that are both not stated count as equal.
    """
    return _matched(axis, {name: np.unique(names, return_inverse=True) for name, names in levels.items()}, units)


def _matched(axis: str, levels: Mapping[str, tuple[Any, Ints]], units: Ints) -> Matching:
    """Return a matching from the levels of every setting and the number of each model's level among them."""
    group = _combinations([level for name, (_, level) in levels.items() if name != axis], len(units))
    names, level = levels[axis]
    i, j = _pairs(group, level)
    component = _components(group, units)
    matched = np.zeros(len(units), bool)
    matched[i] = matched[j] = True
    strata = np.where(matched, group, -1)
    blocks = _combinations([component, units, level], len(units))
    return Matching(
        axis, tuple(map(str, names)), i, j, group[i], component[i], level[i], level[j], strata, blocks, units
    )


def _combinations(columns: list[Ints], n: int) -> Ints:
    """Number the combinations of whole numbers from 0 on, [n] each, in the order of the first, then the second: [n]."""
    found, size = np.zeros(n, np.int64), 1
    for column in columns:
        levels = int(column.max(initial=0)) + 1
        if size * levels > _MOST:
            found = np.unique(found, return_inverse=True)[1]
            size = n
        found, size = found * levels + column, size * levels
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def matchings(asked: Asked) -> list[Matching]:
    """Return the matching of every setting, for the models of a cohort."""
    cohort = asked.cohort
    own = {axis: np.array(names, dtype=object)[cohort.rows].tolist() for axis, names in asked.population.levels.items()}
    levels = {axis: np.unique(names, return_inverse=True) for axis, names in own.items()}
    return [_matched(axis, levels, cohort.units) for axis in levels]


def matching_rows(population: Population, found: list[Matching]) -> list[dict[str, Any]]:
    """Return what psi rests on for each setting: levels, models, groups and pairs, and why there may be none."""
    return [
        {
            "axis": match.axis,
            "n_levels": len(set(population.levels[match.axis])),
            "n_models": match.n_models,
            "n_groups": match.n_groups,
            "n_pairs": len(match.i),
            "computable": len(match.i) > 0,
            "reason": "" if len(match.i) else f"no two models differ in {match.axis} alone",
        }
        for match in found
    ]


def _pairs(group: Ints, level: Ints) -> tuple[Ints, Ints]:
    """List i < j of one group and different levels, ordered so that the level of i is the smaller."""
    order = np.argsort(group, kind="stable")
    # Each model is paired with those behind it in its group.
    behind = np.searchsorted(group[order], group[order], side="right") - np.arange(len(order)) - 1
    first = np.repeat(np.arange(len(order)), behind)
    i, j = order[first], order[first + 1 + np.arange(len(first)) - (np.cumsum(behind) - behind)[first]]
    differ = level[i] != level[j]
    i, j = i[differ], j[differ]
    swap = level[i] > level[j]
    return np.where(swap, j, i), np.where(swap, i, j)


def _components(group: Ints, units: Ints) -> Ints:
    """Number the connected components of groups that share units, per model."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    n_groups = int(group.max()) + 1
    size = n_groups + int(units.max()) + 1
    graph = csr_array((np.ones(len(group)), (group, units + n_groups)), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1][group], dtype=np.int64)


def summed(groups: Ints, values: Floats) -> Floats:
    """Sum values by group: [groups]."""
    return np.bincount(groups, values).astype(np.float64)


def _none() -> Ints:
    return np.empty(0, np.int64)
