"""Where one model stands in the population, and what the others predict for it."""

from typing import Any

import numpy as np

from measurebench.core.errors import BadInputError, near_names
from measurebench.stats.population.population import Population
from measurebench.stats.resampling.draws import Floats
from measurebench.stats.statistics.estimates import NAN

__all__ = ["predict", "standing"]


def standing(population: Population, model: str) -> list[dict[str, Any]]:
    """Return a model's percentile in every measure, and what the population's line predicts for it.

    The line is fitted without the model. ``predicted_low`` and ``predicted_high`` are the 95 % prediction interval
    of least squares, ``residual`` is observed minus predicted; ``percentile`` is the mid-rank among the others,
    0 to 100. Raises BadInputError for an id that the population does not have.
    """
    ids = population.ids
    if model not in ids:
        out = {i: why for step in population.filters for i, why in step.left_out}
        hint = f"it was left out: {out[model]}" if model in out else near_names(model, ids)
        raise BadInputError(f"model {model!r}", "one of the models that are analysed", "another name", hint)
    row = ids.index(model)
    return [_one(population, model, row, name, x) for name, x in population.measures.items()]


def _one(population: Population, model: str, row: int, name: str, x: Floats) -> dict[str, Any]:
    others = np.isfinite(x)
    others[row] = False
    value, observed = float(x[row]), float(population.y[row])
    result: dict[str, Any] = {"model_id": model, "measure": name, "value": value, "observed": observed}
    result |= {"n_models": int(others.sum()), "percentile": NAN}
    result |= dict.fromkeys(("predicted", "predicted_low", "predicted_high", "residual"), NAN)
    if not np.isfinite(value) or others.sum() < 1:
        return result
    below = np.count_nonzero(x[others] < value) + np.count_nonzero(x[others] == value) / 2
    result["percentile"] = 100 * below / int(others.sum())
    if others.sum() < 3 or np.ptp(x[others]) == 0:
        return result
    predicted, half = predict(x[others], population.y[others], value)
    return result | {
        "predicted": predicted,
        "predicted_low": predicted - half,
        "predicted_high": predicted + half,
        "residual": observed - predicted,
    }


def predict(x: Floats, y: Floats, value: float) -> tuple[float, float]:
    """Return what the least squares line of y [n] on x [n] predicts at ``value``, and half the width of its interval.

    The 95 % prediction interval, from at least 3 models of different x.
    """
    from scipy.stats import t

    n, mean = len(x), x.mean()
    squares = ((x - mean) ** 2).sum()
    slope = ((x - mean) * (y - y.mean())).sum() / squares
    residual = y - y.mean() - slope * (x - mean)
    sd = np.sqrt((residual**2).sum() / (n - 2))
    half = t.ppf(0.975, n - 2) * sd * np.sqrt(1 + 1 / n + (value - mean) ** 2 / squares)
    return float(y.mean() + slope * (value - mean)), float(half)
