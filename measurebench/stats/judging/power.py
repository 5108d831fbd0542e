"""How strong an association must be for so many models to show it."""

from typing import Any

import numpy as np

from measurebench.core.intervals import ALPHA
from measurebench.stats.population.population import Population

__all__ = ["POWER", "chance_to_show", "detectable_tau", "null_deviation", "power_notes"]

POWER = 0.8  # the usual convention (Cohen 1988): found four times in five
# The variance of arctanh(tau) is about 0.437 / (n - 4) for normal variables (Fieller, Hartley and Pearson 1957).
_SPREAD, _LOST = 0.437, 4


def null_deviation(n: int) -> float:
    """Return the standard deviation of tau under independence, sqrt(2(2n+5) / (9n(n-1))) (Kendall 1938).

    For values without ties; NaN below two models.

    >>> round(null_deviation(1344), 4)
    0.0182
    """
    return float(np.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1)))) if n > 1 else float("nan")


def detectable_tau(n: int, alpha: float, power: float = POWER) -> float:
    """Return the |tau| found significant at ``alpha`` (two-sided) with probability ``power`` in n models.

    The test compares tau with its deviation under independence; arctanh(tau) spreads around the truth with variance
    0.437 / (n - 4) (Fieller, Hartley and Pearson 1957). NaN where nothing could be shown: fewer than five models, or
    so few that not even a perfect order, of which there are 2 in n!, has a p-value of ``alpha``.

    >>> round(detectable_tau(48, 0.05), 2)
    0.27
    """
    from scipy.special import ndtri

    critical = _critical(n, alpha)
    return float(np.tanh(np.arctanh(critical) + ndtri(power) * _deviation(n))) if critical < 1 else float("nan")


def chance_to_show(tau: float, n: int, alpha: float) -> float:
    """Return the probability that n models with this true tau are found significant at ``alpha``; 0 where none is.

    >>> round(chance_to_show(detectable_tau(48, 0.05), 48, 0.05), 2)
    0.8
    """
    from scipy.special import ndtr

    critical = _critical(n, alpha)
    if not critical < 1:
        return 0.0
    return float(ndtr((np.arctanh(abs(tau)) - np.arctanh(critical)) / _deviation(n)))


def _critical(n: int, alpha: float) -> float:
    """Return the smallest significant |tau|; infinite where nothing is."""
    from scipy.special import gammaln, ndtri

    if n <= _LOST or np.log(2) - gammaln(n + 1) > np.log(alpha):
        return float("inf")
    # Near 1 the normal approximation asks for more than a perfect order, which the exact test above allows.
    return float(min(-ndtri(alpha / 2) * null_deviation(n), 1 - 1e-3))


def _deviation(n: int) -> float:
    return float(np.sqrt(_SPREAD / (n - _LOST)))


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
    tau = detectable_tau(units, alpha)
    where = f"within {level}" if level else "over all models"
    if np.isnan(tau):
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
        "detectable_tau": tau,
        "too_few": bool(np.isnan(tau)),
        "sentence": sentence,
    }
