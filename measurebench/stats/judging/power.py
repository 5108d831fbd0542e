"""How strong an association must be for so many models to show it."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from measurebench.core.intervals import ALPHA, Z
from measurebench.stats.judging.adjustment import Levels
from measurebench.stats.judging.claim_rows import records
from measurebench.stats.judging.significance import ALONE, shown_inside, significant
from measurebench.stats.population.population import Population
from measurebench.stats.resampling.draws import NORMAL_FROM, Ints
from measurebench.stats.resampling.intervals import FEW_UNITS
from measurebench.stats.statistics.conditional import NORMAL_UNITS
from measurebench.stats.statistics.estimates import Draws

__all__ = [
    "POWER",
    "TOO_COARSE",
    "TOO_FEW_TO_SAY",
    "all_shown_in",
    "can_show",
    "chance_to_show",
    "coarse_notes",
    "detectable_tau",
    "null_deviation",
    "power_notes",
]

POWER = 0.8  # the usual convention (Cohen 1988): found four times in five
# The variance of arctanh(tau) is about 0.437 / (n - 4) for normal variables (Fieller, Hartley and Pearson 1957).
_SPREAD, _LOST = 0.437, 4

_MANY = 50  # units; in simulated tables of 12 and 24 runs more show an association than the formula says

TOO_FEW_TO_SAY = "too few runs to say what would be shown"
"""What is said in place of a detectable tau that ``detectable_tau`` does not give."""

TOO_COARSE = "the permutations are too few to show anything"
"""What is said where the least p-value that they can give is above the level of the test."""


def null_deviation(n: int) -> float:
    """Return the standard deviation of tau under independence, sqrt(2(2n+5) / (9n(n-1))) (Kendall 1938).

    For values without ties; NaN below two models.

    >>> round(null_deviation(1344), 4)
    0.0182
    """
    return float(np.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1)))) if n > 1 else float("nan")


def can_show(n: int, alpha: float) -> bool:
    """Say whether a perfect order of n models, of which there are 2 in n!, has a p-value of at most ``alpha``.

    Below five models the answer is no: arctanh(tau) has no variance there.

    >>> can_show(5, 0.05), can_show(5, 0.01)
    (True, False)
    """
    from scipy.special import gammaln

    return n > _LOST and bool(np.log(2) - gammaln(n + 1) <= np.log(alpha))


def detectable_tau(n: int, alpha: float, power: float = POWER, error: float = 0.0) -> float:
    """Return the |tau| found significant at ``alpha`` (two-sided) with probability ``power`` in n models.

    The test compares tau with its deviation under independence; arctanh(tau) spreads around the truth with variance
    0.437 / (n - 4) (Fieller, Hartley and Pearson 1957), or with the standard ``error`` of the measure at hand where
    that is larger, which its interval must leave out as well. NaN below 12 models, where both are too rough, and where
    the test asks for more than a tau of 1.

    >>> round(detectable_tau(48, 0.05), 2), round(detectable_tau(48, 0.05, error=0.12), 2)
    (0.27, 0.33)
    """
    from scipy.special import ndtri

    critical = max(_critical(n, alpha), Z * error)
    if n < FEW_UNITS or not critical < 1:
        return float("nan")
    return float(np.tanh(np.arctanh(critical) + ndtri(power) * max(_deviation(n), error)))


def chance_to_show(tau: float, n: int, alpha: float) -> float:
    """Return the probability that n models with this true tau are found significant at ``alpha``; 0 where none is.

    >>> round(chance_to_show(detectable_tau(48, 0.05), 48, 0.05), 2)
    0.8
    """
    from scipy.special import ndtr

    if not can_show(n, alpha):
        return 0.0
    # Near 1 the normal approximation asks for more than a perfect order, which the exact test allows.
    critical = min(_critical(n, alpha), 1 - 1e-3)
    return float(ndtr((np.arctanh(abs(tau)) - np.arctanh(critical)) / _deviation(n)))


def _critical(n: int, alpha: float) -> float:
    """Return the smallest significant |tau| by the normal approximation, which may be above 1; n of at least 2."""
    from scipy.special import ndtri

    return float(-ndtri(alpha / 2) * null_deviation(n))


def _deviation(n: int) -> float:
    return float(np.sqrt(_SPREAD / (n - _LOST)))


def all_shown_in(correlations: pd.DataFrame, defense: str | None) -> frozenset[str]:
    """Return the defenses inside which every measure is shown, and "" where every one is over all models.

    ``correlations`` are joined with ``tests``, as the rule for a defense needs (``shown_inside``).
    """
    totals = {row["measure"]: row for row in records(correlations[correlations["statistic"] == "tau_b"])}
    complete = {""} if totals and all(significant(row) for row in totals.values()) else set()
    inside = correlations[(correlations["statistic"] == "tau_within") & (correlations["axis"] == defense)]
    for level, rows in inside.groupby("level"):
        shown = {row["measure"] for row in records(rows) if shown_inside(row, totals.get(row["measure"]))}
        complete |= {str(level)} if shown == set(totals) else set()
    return frozenset(complete)


def power_notes(
    population: Population, levels: Levels, draws: Draws, complete: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Return the tau that would be shown in about four of five such tables, over all models and in each defense.

    n is the number of independent units (training runs or papers). ``alpha`` is the level at which one more measure
    would be shown; inside a defense ``alpha_alone`` is that of a measure that is not shown over all models. ``least_p``
    is the smallest p-value that the permutations of ``draws`` can give, 0 where it comes from a normal tail. Where
    every measure is shown (``complete``, from ``all_shown_in``), the sentence does not say that some may be missed.
    """
    counts = draws.permutations, draws.permutations_inside
    return [
        _note(
            population, level, rows, levels, _least_p(population, level, rows, *counts), is_complete=level in complete
        )
        for level, rows in _scopes(population)
    ]


def coarse_notes(population: Population, permutations: int, inside: int) -> list[str]:
    """Name the defenses in which so many permutations show nothing of a measure that is not shown over all models."""
    m = len(population.measures)
    least = {level: _least_p(population, level, rows, permutations, inside) for level, rows in _scopes(population)}
    coarse = [level for level, p in least.items() if level and p * m > ALONE]
    if not coarse:
        return []
    return [
        f"{max(permutations, inside):,} permutations cannot show, inside {', '.join(coarse)}, what is not shown over "
        f"all models, among {m:,} measures; ask for more, or name fewer."
    ]


def _scopes(population: Population) -> list[tuple[str, Ints]]:
    """Return all models (""), and each defense, with the positions of their models."""
    scopes = [("", np.arange(len(population.y)))]
    if population.defense is not None and population.defense in population.levels:
        names = np.array(population.levels[population.defense], dtype=object)
        scopes += [(str(d), np.flatnonzero(names == d)) for d in sorted(set(names.tolist()))]
    return scopes


def _n_units(population: Population, rows: Ints) -> int:
    return len(np.unique(population.units[rows]))


def _least_p(population: Population, level: str, rows: Ints, permutations: int, inside: int) -> float:
    if _n_units(population, rows) >= NORMAL_UNITS if level else len(population.y) >= NORMAL_FROM:
        return 0.0
    return 1 / (1 + (max(permutations, inside) if level else permutations))


def _note(
    population: Population, level: str, rows: Ints, levels: Levels, least_p: float, *, is_complete: bool
) -> dict[str, Any]:
    units = _n_units(population, rows)
    alpha, alone = levels.overall, levels.overall
    if level:
        alpha, alone = levels.inside.get(level, ALPHA), levels.alone.get(level, ALONE)
    coarse, possible = least_p > alpha, can_show(units, alpha)
    tau = float("nan") if coarse else detectable_tau(units, alpha)
    where = f"Within {level}" if level else "Over all models"
    return {
        "scope": "defense" if level else "all",
        "level": level,
        "n_models": len(rows),
        "n_units": units,
        "alpha": alpha,
        "power": POWER,
        "detectable_tau": tau,
        "too_few": not possible,
        "alpha_alone": alone,
        "least_p": least_p,
        "sentence": f"{where}, {_sentence(units, alpha, tau, possible, coarse, is_complete)}",
    }


def _how_often(units: int) -> str:
    """Say in how many tables the detectable tau is shown: few units show more than the formula says, many less."""
    return "four of five or more" if units < _MANY else "two of three to four of five"


def _sentence(units: int, alpha: float, tau: float, possible: bool, coarse: bool, is_complete: bool) -> str:
    if not possible:
        return f"{units} independent units are too few to show any tau at all."
    if coarse:
        return f"{TOO_COARSE}, at a level of {alpha:.2g}."
    if np.isnan(tau):
        return f"there are {units} independent units: {TOO_FEW_TO_SAY}."
    return (
        f"with {units} independent units, an association of {tau:.2f} would be shown in {_how_often(units)} such "
        f"tables, at a level of {alpha:.2g}{'' if is_complete else '; weaker ones may have been missed'}."
    )
