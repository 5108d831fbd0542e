"""R2: the share of the target's variance that a straight line on the measure explains."""

from dataclasses import replace

import numpy as np

from measurebench.stats.resampling.draws import Floats, Ints, Singles
from measurebench.stats.resampling.pair_counts import moderate, ratio
from measurebench.stats.statistics.estimates import NAN, Estimate, Sample
from measurebench.stats.statistics.overall import bootstrapped
from measurebench.stats.statistics.registry import Asked, statistic

__all__ = ["r2", "weighted_r2"]


@statistic(
    "r2",
    title="R2",
    explanation="The squared Pearson correlation: R2 of the regression on this measure alone.",
    table="supplement",
    place=20,
)
def r2(sample: Sample, asked: Asked) -> list[Estimate]:  # noqa: ARG001 - every statistic is called alike
    """Return the squared Pearson correlation with its bootstrap interval, and without a test."""
    cohort = sample.cohort
    own, ones = np.arange(sample.n), np.ones((1, sample.n), np.float32)
    point = weighted_r2(sample.x, cohort.y, own, ones)[0]
    draws = weighted_r2(sample.x, cohort.y, cohort.units, cohort.draws.weights_double)
    row = bootstrapped("r2", "", "", sample, point, draws, NAN)
    untested = "an R2 is not tested against zero; see the slope of the simple regression"
    return [replace(row, reason=untested) if row.reason == "no unit can be exchanged" else row]


def weighted_r2(x: Floats, y: Floats, units: Ints, weights: Singles | Floats) -> Floats:
    """Return the squared Pearson correlation of x and y in every draw, from weighted moments: [draws]."""
    dx, dy = _unit_scale(x), _unit_scale(y)
    moments = np.stack([np.ones(len(x)), dx, dy, dx * dx, dy * dy, dx * dy])
    by_unit = np.stack([np.bincount(units, m, minlength=weights.shape[1]) for m in moments], axis=1)
    n, sx, sy, sxx, syy, sxy = (weights.astype(np.float64, copy=False) @ by_unit).T
    vx, vy = np.maximum(n * sxx - sx**2, 0.0), np.maximum(n * syy - sy**2, 0.0)
    floor = 1e-12 * n**2
    return ratio((n * sxy - sx * sy) ** 2, np.where((vx > floor) & (vy > floor), vx * vy, 0.0))


def _unit_scale(values: Floats) -> Floats:
    """Return values with mean 0 and deviation 1; a constant becomes 0."""
    centred = moderate(values)
    centred = centred - centred.mean()
    size = float(np.sqrt((centred**2).mean()))
    return np.asarray(centred / size if size > 0 else centred)
