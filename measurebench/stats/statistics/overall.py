"""Rank correlation over all models: tau_b, tau_a and Spearman's rho."""

from dataclasses import replace

import numpy as np

from measurebench.stats.resampling.concordance import concordance_sums
from measurebench.stats.resampling.draws import NORMAL_FROM, Floats, percentile_interval, permutation_p
from measurebench.stats.resampling.intervals import checked_interval, rank_interval, why_no_interval
from measurebench.stats.resampling.pair_counts import PairCounts, pair_counts, spearman, weighted_spearman
from measurebench.stats.statistics.estimates import NAN, Estimate, Sample, n_pairs
from measurebench.stats.statistics.registry import Asked, statistic

__all__ = ["bootstrapped", "kendall", "kendall_of", "overall", "permuted_overall"]

_TAUS = frozenset({"tau_b", "tau_a"})


@statistic(
    "overall",
    title="Rank correlation over all models",
    explanation="Kendall's tau with and without correction for ties, and Spearman's rho, over all pairs of models.",
    writes=("tau_b", "tau_a", "spearman"),
    apart=("tau_a",),
    family="secondary",
    place=10,
)
def overall(sample: Sample, asked: Asked) -> list[Estimate]:
    """Return tau_b, tau_a and Spearman's rho over all models.

    Exchanges of whole units give the p-values; ties stay as they are in every exchange, so that tau_a and tau_b share
    theirs.
    """
    return [*asked.shared(kendall_of)[sample.name][0], _spearman(sample)]


def kendall_of(asked: Asked) -> dict[str, tuple[list[Estimate], PairCounts]]:
    """Return, by measure, tau_b and tau_a over all models, and the pair counts of the bootstrap draws."""
    permuted = permuted_overall(asked.samples)
    return {sample.name: kendall(sample, moved) for sample, moved in zip(asked.samples, permuted, strict=True)}


def kendall(sample: Sample, permuted: Floats) -> tuple[list[Estimate], PairCounts]:
    """Return tau_b and tau_a over all models, and the pair counts of the bootstrap draws.

    ``permuted`` [permutations] is the concordance after each exchange of whole units.
    """
    cohort = sample.cohort
    draws = pair_counts(sample.x, cohort.y, cohort.drawn, sample.ties_x, cohort.ties_y, cohort.rank_y)
    point = sample.point
    p = permutation_p(float(point.concordance[0]), permuted, sample.n)
    tau_b = bootstrapped("tau_b", "", "", sample, point.tau_b[0], draws.tau_b, p)
    counted = len(permuted) if sample.n < NORMAL_FROM else 0
    rows = [
        replace(tau_b, n_units=cohort.drawn.n_units, n_permutations=counted),
        bootstrapped("tau_a", "", "", sample, point.tau_a[0], draws.tau_a, p),
    ]
    return rows, draws


def bootstrapped(
    statistic: str, axis: str, level: str, sample: Sample, estimate: float, draws: Floats, p: float
) -> Estimate:
    """Return an estimate over a whole sample with the percentile interval of its draws [draws] and the p-value p.

    tau takes ``rank_interval``; Spearman's rho is checked by its p-value too (``checked_interval``). Where the sample
    has a flaw, or the draws give no interval, the row says why.
    """
    flaw = sample.flaw
    if flaw:
        return Estimate(statistic, axis, level, sample.n, n_pairs(sample.n), NAN, reason=flaw)
    n_units = sample.cohort.drawn.n_units
    if statistic in _TAUS:
        low, high, reason = rank_interval(estimate, draws, n_units, p)
    elif statistic == "spearman":
        low, high, reason = checked_interval(*percentile_interval(draws), estimate, n_units, p)
    else:
        low, high = percentile_interval(draws)
        reason = why_no_interval(estimate, n_units) if np.isnan(low) else ""
    reason = reason or ("" if np.isfinite(p) else "no unit can be exchanged")
    return Estimate(statistic, axis, level, sample.n, n_pairs(sample.n), float(estimate), low, high, p, reason)


def permuted_overall(samples: list[Sample]) -> Floats:
    """Return the concordance of each sample of one cohort after exchanging whole units: [samples, permutations]."""
    cohort = samples[0].cohort
    return concordance_sums(np.stack([s.x for s in samples]), cohort.rank_y[cohort.donors])


def _spearman(sample: Sample) -> Estimate:
    cohort = sample.cohort
    if sample.flaw:
        return bootstrapped("spearman", "", "", sample, NAN, np.empty(0), NAN)
    point, permuted = spearman(sample.x, cohort.y, cohort.donors)
    draws = weighted_spearman(sample.x, cohort.y, cohort.drawn)
    p = permutation_p(point, permuted, sample.n)
    return bootstrapped("spearman", "", "", sample, point, draws, p)
