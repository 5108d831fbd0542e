"""From a table of models to an analysis."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from measurebench.core.info import MeasureInfo
from measurebench.stats.analysis import CORRELATIONS, UNDEFINED, Analysis, tidy
from measurebench.stats.population import CONVERGED_AT, Population, population
from measurebench.stats.rank import pair_counts, point_counts
from measurebench.stats.resampling import (
    bootstrap_weights,
    exchanges,
    percentile_interval,
    permutation_p,
)

Rows = list[dict[str, Any]]


def analyze(
    table: pd.DataFrame,
    *,
    target: str = "robust_gap_pgd",
    measures: Sequence[str] | None = None,
    settings: Sequence[str] | None = None,
    defense: str = "defense",
    run: str = "run",
    cluster: str = "cluster",
    bootstrap: int = 2000,
    permutations: int = 1000,
    seed: int = 0,
    where: str | None = None,
    exclude_standard: bool = False,
    converged_at: float = CONVERGED_AT,
    model: str | None = None,
    infos: Mapping[str, MeasureInfo] | None = None,
) -> Analysis:
    """Judge each measure of a table as a predictor of ``target``.

    ``table`` has one row per model. ``measures`` defaults to every numeric column that is no identity, setting or
    accuracy; ``settings`` to ``setting_*``, architecture and the defense; columns named by ``defense``, ``run`` and
    ``cluster`` may be absent. Raises BadInputError for input that cannot be used, naming what was expected.
    """
    people = population(
        table, target=target, measures=measures, settings=settings, defense=defense, run=run, cluster=cluster,
        where=where, exclude_standard=exclude_standard, converged_at=converged_at,
    )  # fmt: skip
    rows: Rows = []
    for name in people.measures:
        rows.append(_overall(people, name, bootstrap, permutations, seed))
        rows.extend(_within(people, name, level, bootstrap, permutations, seed) for level in _defenses(people))
    correlations = tidy(rows, CORRELATIONS)
    correlations["p_adjusted"] = correlations["p_value"]
    return Analysis(
        target=target, measures=tuple(people.measures), settings=tuple(people.levels), defense=people.defense,
        unit=people.unit, n_models=len(people.y), n_units=people.n_units, correlations=correlations,
        undefined=tidy([], UNDEFINED), filters=people.filters, notes=tuple(people.notes),
        provenance={"bootstrap": bootstrap, "permutations": permutations, "seed": seed, "where": where},
    )  # fmt: skip


def _defenses(people: Population) -> list[str]:
    return sorted(set(people.levels.get(people.defense or "", [])))


def _overall(people: Population, name: str, bootstrap: int, permutations: int, seed: int) -> dict[str, Any]:
    chosen = np.isfinite(people.measures[name])
    return _row(people, name, chosen, ("tau_b", "", ""), bootstrap, permutations, seed)


def _within(
    people: Population, name: str, level: str, bootstrap: int, permutations: int, seed: int
) -> dict[str, Any]:
    axis = people.defense or ""
    chosen = np.isfinite(people.measures[name]) & (np.array(people.levels[axis]) == level)
    return _row(people, name, chosen, ("tau_within", axis, level), bootstrap, permutations, seed)


def _row(
    people: Population,
    name: str,
    chosen: Any,
    statistic: tuple[str, str, str],
    bootstrap: int,
    permutations: int,
    seed: int,
) -> dict[str, Any]:
    x, y, units = people.measures[name][chosen], people.y[chosen], people.units[chosen]
    n = len(x)
    row: dict[str, Any] = {"measure": name, "target": people.target, "n_models": n, "n_pairs": n * (n - 1) // 2}
    row |= dict(zip(("statistic", "axis", "level"), statistic, strict=True))
    if n < 2:
        return row | {"estimate": np.nan}
    estimate = float(point_counts(x, y).tau_b[0])
    draws = pair_counts(x, y, units, bootstrap_weights(people.units, bootstrap, seed)).tau_b
    low, high = percentile_interval(draws)
    moved = exchanges(np.zeros(n, np.int64), units, permutations, seed)
    permuted = np.array([point_counts(x, y[p]).tau_b[0] for p in moved])
    return row | {"estimate": estimate, "ci_low": low, "ci_high": high, "p_value": permutation_p(estimate, permuted)}
