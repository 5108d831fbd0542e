"""Statistics over all models: tau_b, tau_a, Spearman, partial tau and R2."""

from collections.abc import Mapping

import numpy as np

from measurebench.stats.concordance import concordances, ranks_of
from measurebench.stats.estimates import NAN, Estimate, Sample, interval_reason, n_pairs
from measurebench.stats.rank import (
    MidRanks,
    PairCounts,
    pair_counts,
    partial_tau,
    point_counts,
    sign_matrix,
    weighted_r2,
    weighted_spearman,
)
from measurebench.stats.resampling import (
    Floats,
    bootstrap_p,
    donations,
    n_permutations,
    percentile_interval,
    permutation_p,
)


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
    draws = pair_counts(sample.x, cohort.y, cohort.units, cohort.draws.weights, sample.signs)
    point = point_counts(sample.x, cohort.y, sample.signs)
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
    units = len(np.unique(sample.cohort.units))
    reason = interval_reason(units) if np.isnan(low) else "" if np.isfinite(p) else "no unit can be exchanged"
    return Estimate(statistic, axis, level, sample.n, n_pairs(sample.n), float(estimate), low, high, p, reason)


def permuted_overall(samples: list[Sample]) -> Floats:
    """Return the concordance of each sample of one cohort after exchanging whole units: [samples, permutations]."""
    cohort = samples[0].cohort
    draws = n_permutations(len(cohort.y), cohort.draws.permutations)
    moves = donations(cohort.units, draws, cohort.draws.seed + 1)
    return concordances(np.stack([s.x for s in samples]), ranks_of(cohort.y)[moves])[0]


def partial(sample: Sample, controls: Mapping[str, Floats], taus: Floats) -> list[Estimate]:
    """Return Kendall's partial tau of measure and target for each control held fixed (axis names it).

    ``controls`` have a value per model of the cohort, NaN where missing: those models are left out, of ``taus``
    (tau_b of measure and target per draw) too. The p-value inverts the bootstrap interval.
    """
    return [_partial(sample, name, z, taus) for name, z in controls.items() if name != sample.name]


def _partial(sample: Sample, name: str, z: Floats, taus: Floats) -> Estimate:
    cohort = sample.cohort
    keep = np.flatnonzero(np.isfinite(z))
    x, y, z, units = sample.x[keep], cohort.y[keep], z[keep], cohort.units[keep]
    pairs = n_pairs(len(keep))
    if sample.flaw or len(keep) < 3 or np.all(z == z[0]):
        reason = sample.flaw or f"{name} is constant or missing"
        return Estimate("partial_tau", name, "", len(keep), pairs, NAN, reason=reason)
    inner = np.ix_(keep, keep)
    signs = {"xy": sample.signs[inner], "z": sign_matrix(z)}
    signs["xz"] = sample.signs_x[inner] * signs["z"]
    signs["yz"] = cohort.signs_y[inner] * signs["z"]
    point = partial_tau(
        point_counts(x, y, signs["xy"]).tau_b,
        point_counts(x, z, signs["xz"]).tau_b,
        point_counts(y, z, signs["yz"]).tau_b,
    )[0]
    if np.isnan(point):
        reason = f"{name} orders the measure or the target completely"
        return Estimate("partial_tau", name, "", len(keep), pairs, NAN, reason=reason)
    weights = cohort.draws.weights
    if len(keep) < sample.n:
        taus = pair_counts(x, y, units, weights, signs["xy"]).tau_b
    with_z = pair_counts(x, z, units, weights, signs["xz"]).tau_b
    known = cohort.tau_with_target
    if name not in known:
        known[name] = pair_counts(y, z, units, weights, signs["yz"]).tau_b
    draws = partial_tau(taus, with_z, known[name])
    low, high = percentile_interval(draws)
    reason = interval_reason(len(np.unique(units))) if np.isnan(low) else ""
    return Estimate("partial_tau", name, "", len(keep), pairs, float(point), low, high, bootstrap_p(draws), reason)


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
        row.statistic, "", "", row.n_models, row.n_pairs, row.estimate, row.low, row.high, NAN,
        "an R2 is not tested against zero; see the slope of the simple regression",
    )  # fmt: skip


def _spearman(sample: Sample) -> Estimate:
    cohort = sample.cohort
    if sample.flaw:
        return bootstrapped("spearman", "", "", sample, NAN, np.empty(0), NAN)
    own, ones = np.arange(sample.n), np.ones((1, sample.n), np.float32)
    x, y = MidRanks.among(sample.x, own, ones), MidRanks.among(cohort.y, own, ones)
    point = weighted_spearman(x, y, own, ones)[0]
    ranks = MidRanks.among(sample.x, cohort.units, cohort.draws.weights)
    draws = weighted_spearman(ranks, cohort.ranks_y, cohort.units, cohort.draws.weights)
    moves = donations(
        cohort.units,
        n_permutations(sample.n, cohort.draws.permutations),
        cohort.draws.seed + 1,
    )
    permuted = y.centred[0][moves] @ x.centred[0] / np.sqrt(x.spread[0] * y.spread[0])
    p = permutation_p(float(point), permuted.astype(np.float64), sample.n)
    return bootstrapped("spearman", "", "", sample, point, draws, p)
