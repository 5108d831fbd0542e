"""tau inside each defense with the settings that divide runs held fixed, such as the last or the best checkpoint."""

from dataclasses import dataclass

import numpy as np

from measurebench.stats.population.population import Population
from measurebench.stats.resampling.draws import Floats, Ints, bootstrap_p, percentile_interval
from measurebench.stats.resampling.intervals import FEW_UNITS, why_no_interval
from measurebench.stats.resampling.pair_counts import PairCounts, pair_counts, point_counts, ratio
from measurebench.stats.statistics.conditional import levels_of
from measurebench.stats.statistics.estimates import NAN, Cohort, Estimate, Sample, n_pairs
from measurebench.stats.statistics.registry import Asked, statistic

__all__ = ["dividing_settings", "stratified"]


@statistic(
    "tau_stratified",
    title="Stratified tau inside a defense",
    explanation="tau_b inside each defense over the pairs of models that share the levels of the settings that divide "
    "runs, such as the last or the best checkpoint; axis and level name the defense.",
    axes="setting",
    table="supplement",
    place=70,
)
def stratified(sample: Sample, asked: Asked) -> list[Estimate]:
    """Return the stratified tau_b inside each defense (Korn 1984); nothing where no setting divides runs.

    What a checkpoint of one kind does to measure and target alike makes a tau inside a defense that is no difference
    between trainings. The interval resamples units; the p-value inverts it. With fewer than 12 units both are withheld.
    """
    return [_stratified(sample, part) for part in asked.shared(_parts)]


def dividing_settings(population: Population) -> list[str]:
    """Return the settings, apart from the defense, of which some unit has models at several levels."""
    found = []
    for axis, names in population.levels.items():
        level = np.unique(names, return_inverse=True)[1]
        of_unit = len(np.unique(population.units * (int(level.max(initial=0)) + 1) + level))
        if axis != population.defense and of_unit > population.n_units:
            found.append(axis)
    return found


@dataclass(frozen=True)
class _Part:
    """One defense: its models as positions in the cohort, and those of each stratum with what no measure changes."""

    axis: str
    level: str
    n: int
    n_units: int
    strata: list[tuple[Ints, Cohort]]


def _parts(asked: Asked) -> list[_Part]:
    population, cohort = asked.population, asked.cohort
    dividing = dividing_settings(population)
    if population.defense is None or not dividing:
        return []
    columns = [np.unique(population.levels[axis], return_inverse=True)[1][cohort.rows] for axis in dividing]
    stratum = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    found = []
    for level in levels_of(population.levels[population.defense], cohort):
        own = [level.rows[stratum[level.rows] == k] for k in np.unique(stratum[level.rows])]
        strata = [(rows, cohort.at(rows)) for rows in own if len(rows) > 1]
        n_units = len(np.unique(cohort.units[level.rows]))
        found.append(_Part(population.defense, level.name, len(level.rows), n_units, strata))
    return found


def _stratified(sample: Sample, part: _Part) -> Estimate:
    counts = [point_counts(sample.x[rows], cohort.y) for rows, cohort in part.strata]
    point = float(_pooled(counts)[0]) if counts else NAN
    pairs = sum(n_pairs(len(rows)) for rows, _ in part.strata)
    if np.isnan(point):
        reason = sample.flaw or "no two models of one stratum differ in measure and target"
        return Estimate("tau_stratified", part.axis, part.level, part.n, pairs, NAN, reason=reason)
    if part.n_units < FEW_UNITS:
        reason = f"{part.n_units} units are too few for an interval of a stratified tau"
        return Estimate("tau_stratified", part.axis, part.level, part.n, pairs, point, reason=reason)
    draws = _pooled(
        [
            pair_counts(sample.x[rows], cohort.y, cohort.drawn, ties_y=cohort.ties_y, rank_y=cohort.rank_y)
            for rows, cohort in part.strata
        ]
    )
    low, high = percentile_interval(draws)
    reason = why_no_interval(point, part.n_units) if np.isnan(low) else ""
    return Estimate(
        "tau_stratified", part.axis, part.level, part.n, pairs, point, low, high, bootstrap_p(draws), reason
    )


def _pooled(counts: list[PairCounts]) -> Floats:
    """Return tau_b over the pairs of all strata together: [draws]."""
    concordance = np.sum([each.concordance for each in counts], axis=0)
    untied_x = np.sum([each.total - each.ties_x for each in counts], axis=0)
    untied_y = np.sum([each.total - each.ties_y for each in counts], axis=0)
    return ratio(concordance, np.sqrt(untied_x * untied_y))
