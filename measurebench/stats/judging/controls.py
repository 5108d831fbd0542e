"""Negative controls: columns that know nothing of the networks, judged by the rules of the measures."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from measurebench.stats.analysis import TABLES, tidy
from measurebench.stats.judging.adjustment import PRIMARY, as_one_more, benjamini_hochberg, families, holm
from measurebench.stats.population.population import Population
from measurebench.stats.regressions.added import added, proxy_refits, settings_proxies
from measurebench.stats.regressions.settings_fit import Designs
from measurebench.stats.resampling.draws import Floats, stream
from measurebench.stats.statistics.cohorts import find
from measurebench.stats.statistics.estimates import Draws
from measurebench.stats.statistics.registry import Question

__all__ = ["RANDOM", "Controls", "control_columns", "controls"]

RANDOM = "control: random numbers"
_STATISTICS = ("overall", "conditional", "partial_tau", "residual_tau", "tau_stratified")


@dataclass(frozen=True)
class Controls:
    """What was found of the negative controls: correlations, tests, and what they add to the settings."""

    names: tuple[str, ...]
    correlations: pd.DataFrame
    added: list[dict[str, Any]]
    tests: list[dict[str, Any]]


def control_columns(population: Population, seed: int, designs: Designs | None = None) -> dict[str, Floats]:
    """Return the negative controls by name, [n] each: random numbers, and what the settings alone predict.

    The random numbers have a stream of their own. They are alike within a run, as the measures of its checkpoints are:
    nine tenths of their variance lie between runs.
    """
    rng = np.random.default_rng(stream("negative control", seed=seed))
    between, within = rng.normal(size=population.n_units), rng.normal(size=len(population.y))
    random = np.sqrt(0.9) * between[population.units] + np.sqrt(0.1) * within
    proxies = settings_proxies(population, seed, designs)
    return {RANDOM: random} | {_name(name): values for name, values in proxies.items()}


def _name(proxy: str) -> str:
    return f"control: {proxy}"


def controls(
    population: Population,
    draws: Draws,
    question: Question,
    correlations: pd.DataFrame,
    designs: Designs | None = None,
) -> Controls:
    """Judge the negative controls beside the measures, whose ``correlations`` are adjusted already.

    A control's p-value is adjusted as that of one more measure would be; the measures' own do not change. ``designs``
    are those of the population's settings, where the caller has them.
    """
    found_columns = control_columns(population, draws.seed, designs)
    columns = {name: x for name, x in found_columns.items() if len(np.unique(x)) > 1}
    axes = {population.defense: population.levels[population.defense]} if population.defense else {}
    alone = replace(population, measures=columns)
    scoped = replace(draws, scope="controls")
    found = find(replace(alone, levels=axes), scoped, question, only=_STATISTICS)
    if population.too_few:
        found = found.without_inference(population.too_few)
    rows = [row.row(name, population.target) for name in columns for row in found.rows[name]]
    refits = {_name(name): refit for name, refit in proxy_refits(population).items()}
    kept = [row for row in rows if row["statistic"] in {"tau_b", "tau_within", "partial_tau", "residual_tau"}]
    table = tidy(kept, TABLES["correlations"])
    # With the folds of the measures, so that the settings alone have the same error in both.
    adds = added(alone, draws, refits, designs, levels=False)
    return Controls(tuple(columns), _adjusted(table, correlations, population.defense), adds, found.tests())


def _adjusted(table: pd.DataFrame, correlations: pd.DataFrame, defense: str | None) -> pd.DataFrame:
    """Adjust each p-value as one more among those of the measures."""
    known = correlations.assign(family=families(correlations, defense)).dropna(subset=["p_value"])
    by_family = {str(name): rows["p_value"].to_numpy(dtype=float) for name, rows in known.groupby("family")}
    values = []
    for family, own in zip(families(table, defense), table["p_value"].to_numpy(dtype=float), strict=True):
        adjust = holm if family == f"overall {PRIMARY}" else benjamini_hochberg
        values.append(as_one_more(own, by_family.get(family, np.empty(0)), adjust))
    return table.assign(p_adjusted=values)
