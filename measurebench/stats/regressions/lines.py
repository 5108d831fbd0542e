"""Straight lines for charts, and residuals, which show the models that depart most from them."""

from typing import Any

import numpy as np

from measurebench.stats.population.population import Population
from measurebench.stats.regressions.linear import dummies
from measurebench.stats.resampling.draws import Floats, Ints

__all__ = ["line", "lines", "residuals"]


def line(measure: str, level: str, x: Floats, y: Floats) -> dict[str, Any] | None:
    """Return the least squares line of y [n] on x [n] in raw units with what its band needs, or None below 3 models.

    Also None where squares of x leave the range of float64.
    """
    from scipy.stats import t

    n = len(x)
    if n < 3 or np.ptp(x) == 0:
        return None
    mean = float(x.mean())
    with np.errstate(over="ignore", under="ignore"):
        squares = float(((x - mean) ** 2).sum())
    if not 0 < squares < np.inf:
        return None
    slope = float(((x - mean) * (y - y.mean())).sum() / squares)
    intercept = float(y.mean()) - slope * mean
    sse = float(((y - intercept - slope * x) ** 2).sum())
    return {
        "measure": measure,
        "level": level,
        "n_models": n,
        "intercept": intercept,
        "slope": slope,
        "x_mean": mean,
        "x_sum_squares": squares,
        "residual_sd": float(np.sqrt(sse / (n - 2))),
        "t_quantile": float(t.ppf(0.975, n - 2)),
        "x_min": float(x.min()),
        "x_max": float(x.max()),
    }


def lines(population: Population) -> list[dict[str, Any]]:
    """Return each measure's line over all models (level empty) and inside each defense."""
    result = []
    for name, x in population.measures.items():
        known = np.isfinite(x)
        scopes = [("", known)]
        for level in _defenses(population):
            scopes.append((level, known & (np.array(population.levels[population.defense or ""]) == level)))
        found = [line(name, level, x[rows], population.y[rows]) for level, rows in scopes]
        result += [row for row in found if row is not None]
    return result


def residuals(population: Population, measure: str) -> list[dict[str, Any]]:
    """Return each model's residual in three regressions on one measure: alone, beside the settings, per defense.

    ``studentized`` divides by the residual's own standard error (internally studentised). Sorted by its size.
    """
    x = population.measures[measure]
    rows = np.flatnonzero(np.isfinite(x))
    own = np.column_stack([np.ones(len(rows)), x[rows]])
    designs: list[tuple[str, str, Ints, Floats]] = [("simple", "", rows, own)]
    if population.levels:
        beside = np.column_stack([dummies(population, list(population.levels), rows), x[rows]])
        designs.append(("settings_plus_measure", "", rows, beside))
    for level in _defenses(population):
        inside = rows[np.array(population.levels[population.defense or ""])[rows] == level]
        designs.append(("within_defense", level, inside, np.column_stack([np.ones(len(inside)), x[inside]])))
    result: list[dict[str, Any]] = []
    for model, level, chosen, design in designs:
        result += _residuals(population, measure, model, level, chosen, design)
    return result


def _residuals(
    population: Population, measure: str, model: str, level: str, rows: Ints, design: Floats
) -> list[dict[str, Any]]:
    y, ids = population.y[rows], population.ids
    rank = int(np.linalg.matrix_rank(design)) if len(rows) else 0
    if len(rows) < rank + 2:
        return []
    inverse = np.linalg.pinv(design)
    predicted = design @ (inverse @ y)
    residual = y - predicted
    sd = float(np.sqrt((residual**2).sum() / (len(y) - rank)))
    free = np.sqrt(np.maximum(1 - np.einsum("ij,ji->i", design, inverse), 0.0))
    scale = np.where(free > 1e-6, sd * free, np.nan)
    studentized = residual / np.where(scale > 0, scale, np.nan)
    order = np.argsort(-np.abs(np.nan_to_num(studentized)), kind="stable")
    return [
        {
            "model_id": ids[int(rows[k])],
            "measure": measure,
            "model": model,
            "level": level,
            "observed": float(y[k]),
            "predicted": float(predicted[k]),
            "residual": float(residual[k]),
            "studentized": float(studentized[k]),
        }
        for k in order
    ]


def _defenses(population: Population) -> list[str]:
    return sorted(set(population.levels.get(population.defense or "", [])))
