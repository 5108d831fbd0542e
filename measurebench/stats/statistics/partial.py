"""Partial tau: what is left of an association when another column is held fixed."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from measurebench.stats.resampling.concordance import concordance_sums, ranks_of
from measurebench.stats.resampling.draws import Floats, Ints, bootstrap_p, percentile_interval
from measurebench.stats.resampling.intervals import FEW_UNITS, why_no_interval
from measurebench.stats.resampling.pair_counts import pair_counts, partial_tau, point_counts, ties
from measurebench.stats.statistics.estimates import NAN, Cohort, Estimate, Sample, n_pairs
from measurebench.stats.statistics.overall import kendall_of
from measurebench.stats.statistics.registry import Asked, statistic

__all__ = ["Control", "partial"]


@dataclass(frozen=True)
class Control:
    """A quantity to hold fixed on the models of a cohort that have it, with what no measure changes computed once.

    ``inside`` [n] are their positions in the cohort, ``cohort`` those models alone, ``z`` [n] the control there.
    """

    name: str
    inside: Ints
    cohort: Cohort
    z: Floats

    @classmethod
    def of(cls, name: str, z: Floats, cohort: Cohort) -> "Control":
        """Take a control with one value per model of the cohort, NaN where missing."""
        inside = np.flatnonzero(np.isfinite(z))
        return cls(name, inside, cohort.at(inside), z[inside])

    @cached_property
    def ties(self) -> Floats:
        """The control's ties in every draw."""
        return ties(self.z, self.cohort.drawn)

    @cached_property
    def rank(self) -> Ints:
        """The control's dense rank: [n]."""
        return ranks_of(self.z)

    @cached_property
    def with_target(self) -> tuple[Floats, Floats]:
        """tau_b of the control and the target: in the table [1], and in every draw."""
        return self.with_measure(self.cohort.y, self.cohort.ties_y)

    def with_measure(self, x: Floats, ties_x: Floats) -> tuple[Floats, Floats]:
        """Return tau_b of the control and x [n]: in the table [1], and in every draw."""
        concordance = float(concordance_sums(x[None], self.rank[None])[0, 0])
        draws = pair_counts(x, self.z, self.cohort.drawn, ties_x, self.ties, self.rank)
        return point_counts(x, self.z, concordance).tau_b, draws.tau_b


@statistic(
    "partial_tau",
    title="Partial tau",
    explanation="Kendall's partial tau of measure and target with another column held fixed; axis names the column.",
    axes="control",
    family="secondary",
    place=20,
)
def partial(sample: Sample, asked: Asked) -> list[Estimate]:
    """Return Kendall's partial tau of measure and target for each control held fixed (Kendall 1942).

    Models without a control are left out. The p-value inverts the bootstrap interval. With fewer than 12 units both are
    withheld: the bootstrap of a ratio of such few units excludes 0 far too often.
    """
    taus = asked.shared(kendall_of)[sample.name][1].tau_b
    return [_partial(sample, control, taus) for control in asked.shared(_controls) if control.name != sample.name]


def _controls(asked: Asked) -> list[Control]:
    rows, cohort = asked.cohort.rows, asked.cohort
    return [Control.of(name, z[rows], cohort) for name, z in asked.question.controls.items()]


def _partial(sample: Sample, control: Control, taus: Floats) -> Estimate:
    n, name = len(control.inside), control.name
    if sample.flaw or n < 3 or np.all(control.z == control.z[0]):
        reason = sample.flaw or f"{name} is constant or missing"
        return Estimate("partial_tau", name, "", n, n_pairs(n), NAN, reason=reason)
    known = sample if n == sample.n else Sample(sample.name, sample.x[control.inside], control.cohort)
    cohort = control.cohort
    point_xz, draws_xz = control.with_measure(known.x, known.ties_x)
    point_yz, draws_yz = control.with_target
    point = partial_tau(known.point.tau_b, point_xz, point_yz)[0]
    if np.isnan(point):
        reason = f"{name} orders the measure or the target completely"
        return Estimate("partial_tau", name, "", n, n_pairs(n), NAN, reason=reason)
    if known is not sample:
        taus = pair_counts(known.x, cohort.y, cohort.drawn, known.ties_x, cohort.ties_y, cohort.rank_y).tau_b
    if (n_units := cohort.drawn.n_units) < FEW_UNITS:
        reason = f"{n_units} units are too few for an interval or a test of a partial tau"
        return Estimate("partial_tau", name, "", n, n_pairs(n), float(point), reason=reason)
    draws = partial_tau(taus, draws_xz, draws_yz)
    low, high = percentile_interval(draws)
    reason = why_no_interval(float(point), n_units) if np.isnan(low) else ""
    return Estimate("partial_tau", name, "", n, n_pairs(n), float(point), low, high, bootstrap_p(draws), reason)
