"""How strong an association must be for so many models to show it."""

from typing import Any

import numpy as np

from measurebench.stats.judging.significance import ALPHA
from measurebench.stats.population.population import Population

__all__ = ["POWER", "detectable_tau", "null_deviation", "power_notes"]

POWER = 0.8  # the usual convention (Cohen 1988): found four times in five


def null_deviation(n: int) -> float:
    """Return the standard deviation of tau under independence, sqrt(2(2n+5) / (9n(n-1))) (Kendall 1938).

    For values without ties; NaN below two models.

    >>> round(null_deviation(1344), 4)
    0.0182
    """
    return float(np.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1)))) if n > 1 else float("nan")


def detectable_tau(n: int, alpha: float, power: float = POWER) -> float:
    """Return the |tau| found significant at ``alpha`` (two-sided) with probability ``power`` in n models.

    A normal approximation with the deviation under independence; a result above 1 means that nothing can be shown.

    >>> round(detectable_tau(48, 0.05), 2)
    0.28
    """
    from scipy.stats import norm

    return float((norm.ppf(1 - alpha / 2) + norm.ppf(power)) * null_deviation(n))


def power_notes(population: Population) -> list[dict[str, Any]]:
    """Return the smallest tau that could have been shown, over all models and inside each defense.

    n is the number of independent units (training runs or papers), alpha is 0.05 divided by the measures.
    """
    alpha = ALPHA / max(1, len(population.measures))
    scopes = [("all", "", np.arange(len(population.y)))]
    if population.defense is not None and population.defense in population.levels:
        names = np.array(population.levels[population.defense], dtype=object)
        scopes += [("defense", str(d), np.flatnonzero(names == d)) for d in sorted(set(names.tolist()))]
    return [_note(population, scope, level, rows, alpha) for scope, level, rows in scopes]


def _note(population: Population, scope: str, level: str, rows: Any, alpha: float) -> dict[str, Any]:
    units = len(np.unique(population.units[rows]))
    tau = detectable_tau(units, alpha) if units > 1 else float("nan")
    where = f"within {level}" if level else "over all models"
    if not tau < 1:
        sentence = f"{where.capitalize()}, {units} independent units are too few to show any tau at all."
    else:
        sentence = (
            f"{where.capitalize()}, {units} independent units show a tau of {tau:.2f} or more "
            f"four times in five at a level of {alpha:.2g}; weaker associations may have been missed."
        )
    sentence = sentence if not level else f"Within {level}{sentence[len(where) :]}"
    return {
        "scope": scope,
        "level": level,
        "n_models": len(rows),
        "n_units": units,
        "alpha": alpha,
        "power": POWER,
        "detectable_tau": tau if tau < 1 else float("nan"),
        "sentence": sentence,
    }
