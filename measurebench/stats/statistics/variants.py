"""tau_b again: for test robust accuracy as the target, and without the models trained without an attack."""

from dataclasses import replace

import numpy as np

from measurebench.stats.population.population import is_standard
from measurebench.stats.resampling.draws import Floats, Ints
from measurebench.stats.statistics.estimates import Cohort, Estimate, Sample
from measurebench.stats.statistics.overall import kendall, permuted_overall
from measurebench.stats.statistics.registry import Asked, statistic

__all__ = ["variants"]


@statistic(
    "variants",
    title="tau_b for another target or other models",
    explanation="tau_b with test robust accuracy as the target; and over the models without Standard training, whose "
    "gaps are near 0 because they have no robustness to lose.",
    table="supplement",
    writes=("tau_b",),
    place=50,
)
def variants(sample: Sample, asked: Asked) -> list[Estimate]:
    """Return tau_b for each second target, and over the models without Standard where there are three others."""
    return [results[sample.name] for results in asked.shared(_variants)]


def _variants(asked: Asked) -> list[dict[str, Estimate]]:
    population, rows = asked.population, asked.cohort.rows
    others = asked.question.second_targets.items()
    found = [_again(asked, rows[np.isfinite(y[rows])], y, target) for target, y in others]
    defenses = population.levels.get(population.defense or "", [""] * len(population.y))
    standard = np.array([is_standard(name) for name in defenses])[rows]
    if standard.any() and (~standard).sum() > 2:
        found.append(_again(asked, rows[~standard], population.y, population.target, "without", "Standard"))
    return [results for results in found if results]


def _again(asked: Asked, rows: Ints, y: Floats, target: str, axis: str = "", level: str = "") -> dict[str, Estimate]:
    """Return tau_b by measure over these models of the population and this target; nothing for fewer than two."""
    if len(rows) < 2:
        return {}
    draws = replace(asked.cohort.draws, scope=f"{target} {axis} {level}")
    cohort = Cohort.of(asked.population, rows, draws, y)
    samples = [Sample(s.name, asked.population.measures[s.name][rows], cohort) for s in asked.samples]
    results = {}
    for sample, moved in zip(samples, permuted_overall(samples), strict=True):
        tau = kendall(sample, moved)[0][0]
        results[sample.name] = replace(tau, axis=axis, level=level, target=target)
    return results
