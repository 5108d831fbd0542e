"""R2: the share of the target's variance that a straight line on the measure explains."""

from dataclasses import replace

import numpy as np

from measurebench.stats.resampling.pair_counts import weighted_r2
from measurebench.stats.statistics.estimates import NAN, Estimate, Sample
from measurebench.stats.statistics.overall import bootstrapped
from measurebench.stats.statistics.registry import Asked, statistic

__all__ = ["r2"]


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
