"""Tau of residuals: the association between what another column leaves of the measure and of the target."""

import math

import numpy as np

from measurebench.stats.resampling.draws import Floats, bootstrap_p, percentile_interval
from measurebench.stats.resampling.intervals import FEW_UNITS, why_no_interval
from measurebench.stats.resampling.pair_counts import pair_counts, point_counts, ties
from measurebench.stats.statistics.estimates import NAN, Cohort, Estimate, Sample, n_pairs
from measurebench.stats.statistics.registry import Asked, statistic

__all__ = ["left_of", "normal_scores", "residual"]

_TERMS = 3  # the control, its square and its cube
_NOTHING = 1e-6  # what a regression leaves of scores of variance 1, apart from rounding


@statistic(
    "residual_tau",
    title="Tau of residuals",
    explanation="tau_b of what is left of measure and target when both are regressed on another column; axis names it.",
    axes="control",
)
def residual(sample: Sample, asked: Asked) -> list[Estimate]:
    """Return tau_b of the residuals of measure and target for each control held fixed.

    Measure, target and control enter by their normal scores; the regression is a cubic one. It is 0 where measure and
    target are independent given the control and their errors are symmetric, which Kendall's partial tau is not. The
    interval resamples units, the regressions as they are, and lies further out for their coefficients; the p-value
    inverts it. With fewer than 12 units both are withheld. Models without a control are left out.
    """
    controls = asked.shared(_controls)
    return [_residual(sample, name, held) for name, held in controls.items() if name != sample.name]


class _Held:
    """A control on the models of a cohort that have it, and what it leaves of the target."""

    def __init__(self, z: Floats, cohort: Cohort) -> None:
        self.inside = np.flatnonzero(np.isfinite(z))
        self.cohort, self.z = cohort.at(self.inside), z[self.inside]
        self.varies = len(self.z) > 2 and bool(np.any(self.z != self.z[0]))
        self.target = left_of(self.cohort.y, self.z) if self.varies else np.empty(0)
        if self.varies:
            self.ties = ties(self.target, self.cohort.drawn)


def _controls(asked: Asked) -> dict[str, _Held]:
    cohort = asked.cohort
    return {name: _Held(z[cohort.rows], cohort) for name, z in asked.question.controls.items()}


def _residual(sample: Sample, name: str, held: _Held) -> Estimate:
    n, cohort = len(held.inside), held.cohort
    x = sample.x[held.inside]
    reason = sample.flaw or ("" if held.varies else f"{name} is constant or missing")
    left = np.empty(0) if reason else left_of(x, held.z)
    if not reason and (not np.any(left) or not np.any(held.target)):
        reason = f"{name} determines the measure or the target"
    if reason:
        return Estimate("residual_tau", name, "", n, n_pairs(n), NAN, reason=reason)
    point = float(point_counts(left, held.target).tau_b[0])
    if (n_units := cohort.drawn.n_units) < FEW_UNITS:
        reason = f"{n_units} units are too few for an interval or a test of a tau of residuals"
        return Estimate("residual_tau", name, "", n, n_pairs(n), point, reason=reason)
    draws = pair_counts(left, held.target, cohort.drawn, ties_y=held.ties).tau_b
    # Of u units the regressions use up as many as they have coefficients: what is left varies so much more.
    draws = np.clip(point + math.sqrt(n_units / (n_units - _TERMS - 1)) * (draws - point), -1.0, 1.0)
    low, high = percentile_interval(draws)
    reason = why_no_interval(point, n_units) if np.isnan(low) else ""
    return Estimate("residual_tau", name, "", n, n_pairs(n), point, low, high, bootstrap_p(draws), reason)


def left_of(values: Floats, z: Floats) -> Floats:
    """Return what a cubic regression of the normal scores of values [n] on those of z [n] leaves: [n].

    Zero everywhere where z determines the values.
    """
    scores, given = normal_scores(values), normal_scores(z)
    columns = np.stack([given**power for power in range(_TERMS + 1)], axis=1)
    axes = np.linalg.qr(columns)[0]
    left = scores - axes @ (axes.T @ scores)
    left -= axes @ (axes.T @ left)  # since once leaves the rounding of what was taken away
    is_left = float(np.abs(left).max()) > _NOTHING * max(1.0, float(np.abs(scores).max()))
    # Equal models are left with equal values, which rounding would set apart.
    return left.round(12) if is_left else np.zeros(len(values))


def normal_scores(values: Floats) -> Floats:
    """Return the normal scores of values [n], the quantiles of their mid-ranks r / (n + 1): [n].

    >>> normal_scores(np.array([3.0, 1.0, 2.0])).round(3).tolist()
    [0.674, -0.674, 0.0]
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    return np.asarray(ndtri(rankdata(values) / (len(values) + 1)))
