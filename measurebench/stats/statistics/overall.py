"""Statistics over all models: tau_b, tau_a, Spearman, partial tau and R2."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from measurebench.stats.resampling.concordance import concordances, ranks_of
from measurebench.stats.resampling.draws import Floats, Ints, bootstrap_p, percentile_interval, permutation_p
from measurebench.stats.resampling.pair_counts import (
    Drawn,
    MidRanks,
    PairCounts,
    Signs,
    collapsed,
    pair_counts,
    partial_tau,
    point_counts,
    sign_matrix,
    ties,
    weighted_r2,
    weighted_spearman,
)
from measurebench.stats.statistics.estimates import NAN, Cohort, Estimate, Sample, interval_reason, n_pairs

__all__ = ["Control", "bootstrapped", "kendall", "overall", "partial", "permuted_overall", "r2"]


def overall(sample: Sample, permuted: Floats) -> tuple[list[Estimate], PairCounts]:
    """Return tau_b, tau_a and Spearman over all models, and the pair counts of the bootstrap draws.

    ``permuted`` [permutations] holds the concordance after each exchange of whole units: with fixed ties it
    decides tau_a, tau_b alike. Spearman's p-value is found from exchanges of its own.
    """
    rows, draws = kendall(sample, permuted)
    return [*rows, _spearman(sample)], draws


def kendall(sample: Sample, permuted: Floats) -> tuple[list[Estimate], PairCounts]:
    """Return tau_b and tau_a over all models, and the pair counts of the bootstrap draws."""
    cohort = sample.cohort
    draws = pair_counts(sample.x, cohort.y, cohort.drawn, sample.pairs, sample.ties_x, cohort.ties_y)
    point = point_counts(sample.x, cohort.y, sample.concordance)
    p = permutation_p(float(point.concordance[0]), permuted, sample.n)
    rows = [
        bootstrapped("tau_b", "", "", sample, point.tau_b[0], draws.tau_b, p),
        bootstrapped("tau_a", "", "", sample, point.tau_a[0], draws.tau_a, p),
    ]
    return rows, draws


def bootstrapped(
    statistic: str, axis: str, level: str, sample: Sample, estimate: float, draws: Floats, p: float
) -> Estimate:
    """Return an estimate over a whole sample with the percentile interval of its draws."""
    flaw = sample.flaw
    if flaw:
        return Estimate(statistic, axis, level, sample.n, n_pairs(sample.n), NAN, reason=flaw)
    low, high = percentile_interval(draws)
    reason = interval_reason(sample.cohort.drawn.n_units) if np.isnan(low) else ""
    reason = reason or ("" if np.isfinite(p) else "no unit can be exchanged")
    return Estimate(statistic, axis, level, sample.n, n_pairs(sample.n), float(estimate), low, high, p, reason)


def permuted_overall(samples: list[Sample]) -> Floats:
    """Return the concordance of each sample of one cohort after exchanging whole units: [samples, permutations]."""
    cohort = samples[0].cohort
    return concordances(np.stack([s.x for s in samples]), ranks_of(cohort.y)[cohort.donors])[0]


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
    def signs(self) -> Signs:
        """The control's sign for every pair: [n, n]."""
        return sign_matrix(self.z)

    @cached_property
    def ties(self) -> Floats:
        """The control's ties in every draw."""
        return ties(self.z, self.cohort.drawn)

    @cached_property
    def with_target(self) -> tuple[Floats, Floats]:
        """tau_b of the control and the target: in the table [1], and in every draw."""
        return self.with_measure(self.cohort.y, self.cohort.signs_y, self.cohort.ties_y)

    def with_measure(self, x: Floats, signs_x: Signs, ties_x: Floats) -> tuple[Floats, Floats]:
        """Return tau_b of the control and x [n]: in the table [1], and in every draw."""
        pairs = collapsed(signs_x * self.signs, self.cohort.drawn.local)
        point = point_counts(x, self.z, float(pairs.sum(dtype=np.float64)))
        return point.tau_b, pair_counts(x, self.z, self.cohort.drawn, pairs, ties_x, self.ties).tau_b


def partial(sample: Sample, controls: Sequence[Control], taus: Floats) -> list[Estimate]:
    """Return Kendall's partial tau of measure and target for each control held fixed (axis names it).

    Models without a control are left out, of ``taus`` (tau_b of measure and target per draw) too. The p-value
    inverts the bootstrap interval.
    """
    return [_partial(sample, control, taus) for control in controls if control.name != sample.name]


def _partial(sample: Sample, control: Control, taus: Floats) -> Estimate:
    n, name = len(control.inside), control.name
    if sample.flaw or n < 3 or np.all(control.z == control.z[0]):
        reason = sample.flaw or f"{name} is constant or missing"
        return Estimate("partial_tau", name, "", n, n_pairs(n), NAN, reason=reason)
    known = sample if n == sample.n else Sample(sample.name, sample.x[control.inside], control.cohort)
    cohort = control.cohort
    point_xz, draws_xz = control.with_measure(known.x, known.signs_x, known.ties_x)
    point_yz, draws_yz = control.with_target
    point = partial_tau(point_counts(known.x, cohort.y, known.concordance).tau_b, point_xz, point_yz)[0]
    if np.isnan(point):
        reason = f"{name} orders the measure or the target completely"
        return Estimate("partial_tau", name, "", n, n_pairs(n), NAN, reason=reason)
    if known is not sample:
        taus = pair_counts(known.x, cohort.y, cohort.drawn, known.pairs, known.ties_x, cohort.ties_y).tau_b
    draws = partial_tau(taus, draws_xz, draws_yz)
    low, high = percentile_interval(draws)
    reason = interval_reason(cohort.drawn.n_units) if np.isnan(low) else ""
    return Estimate("partial_tau", name, "", n, n_pairs(n), float(point), low, high, bootstrap_p(draws), reason)


def r2(sample: Sample) -> Estimate:
    """Return the squared Pearson correlation (R2 of the regression on this measure alone) with its interval."""
    cohort = sample.cohort
    own, ones = np.arange(sample.n), np.ones((1, sample.n), np.float32)
    point = weighted_r2(sample.x, cohort.y, own, ones)[0]
    draws = weighted_r2(sample.x, cohort.y, cohort.units, cohort.draws.weights)
    result = bootstrapped("r2", "", "", sample, point, draws, NAN)
    return result if result.reason != "no unit can be exchanged" else _without_reason(result)


def _without_reason(row: Estimate) -> Estimate:
    return Estimate(
        row.statistic,
        "",
        "",
        row.n_models,
        row.n_pairs,
        row.estimate,
        row.low,
        row.high,
        NAN,
        "an R2 is not tested against zero; see the slope of the simple regression",
    )


def _spearman(sample: Sample) -> Estimate:
    cohort = sample.cohort
    if sample.flaw:
        return bootstrapped("spearman", "", "", sample, NAN, np.empty(0), NAN)
    once = Drawn.once(sample.n)
    x, y = MidRanks.among(sample.x, once), cohort.own_ranks_y
    point = weighted_spearman(x, y, once)[0]
    draws = weighted_spearman(MidRanks.among(sample.x, cohort.drawn), cohort.ranks_y, cohort.drawn)
    permuted = cohort.donated_ranks_y @ x.centred[:, 0] / np.sqrt(x.spread[0] * y.spread[0])
    p = permutation_p(float(point), permuted.astype(np.float64), sample.n)
    return bootstrapped("spearman", "", "", sample, point, draws, p)
