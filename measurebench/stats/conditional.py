"""Conditional statistics: tau inside each level of a setting, and its mean pi over the levels."""

from dataclasses import dataclass

import numpy as np

from measurebench.stats.concordance import concordances, ranks_of
from measurebench.stats.estimates import NAN, Cohort, Estimate, Sample, flaw, interval_reason, n_pairs
from measurebench.stats.population import UNSTATED
from measurebench.stats.rank import pair_counts, point_counts
from measurebench.stats.resampling import (
    Floats,
    Ints,
    bootstrap_p,
    exchanges,
    n_permutations,
    percentile_interval,
    permutation_p,
)


@dataclass(frozen=True)
class Level:
    """The models of a cohort at one level of a setting: positions in the cohort."""

    name: str
    rows: Ints


@dataclass(frozen=True)
class LevelResult:
    """tau inside one level: the estimates, and what the mean over levels needs."""

    rows: list[Estimate]
    tau: float
    draws: Floats
    permuted: Floats


def levels_of(names: list[str], cohort: Cohort) -> list[Level]:
    """Return the stated levels of a setting (its name per model of the population), each with its models."""
    own = np.array(names, dtype=object)[cohort.rows]
    found = sorted({str(name) for name in own} - {UNSTATED})
    return [Level(name, np.flatnonzero(own == name)) for name in found]


def conditional(axis: str, levels: list[Level], samples: list[Sample]) -> list[tuple[list[Estimate], Floats]]:
    """Return for each sample tau_within and tau_a per level and pi of the setting, with pi's draws.

    pi_k is the mean of tau_b over the levels of setting k in which it exists (Kim et al. 2023); the p-values
    exchange whole units inside each level.
    """
    cohort = samples[0].cohort
    strata = np.full(len(cohort.y), -1, np.int64)
    for k, level in enumerate(levels):
        strata[level.rows] = k
    moves = exchanges(
        strata,
        cohort.units,
        n_permutations(len(cohort.y), cohort.draws.permutations),
        cohort.draws.seed + 2,
    )
    xs = np.stack([s.x for s in samples])
    permuted = [_permuted(xs, cohort.y, level.rows, moves) for level in levels]
    results = []
    for m, sample in enumerate(samples):
        inside = [_inside(axis, lv, sample, permuted[k][m]) for k, lv in enumerate(levels)]
        pi, draws = _pi(axis, inside, sample)
        results.append(([row for level in inside for row in level.rows] + [pi], draws))
    return results


def _permuted(xs: Floats, y: Floats, rows: Ints, moves: Ints) -> Floats:
    """Concordance inside a level after each exchange: [samples, permutations]."""
    if len(rows) < 2:
        return np.full((len(xs), len(moves)), NAN)
    return concordances(xs[:, rows], ranks_of(y)[moves[:, rows]])[0]


def _inside(axis: str, level: Level, sample: Sample, permuted: Floats) -> LevelResult:
    rows, cohort = level.rows, sample.cohort
    x, y, units, n = sample.x[rows], cohort.y[rows], cohort.units[rows], len(rows)
    reason = flaw(x, y)
    if reason:
        missing = [
            Estimate(name, axis, level.name, n, n_pairs(n), NAN, reason=reason) for name in ("tau_within", "tau_a")
        ]
        return LevelResult(missing, NAN, np.full(len(cohort.draws.weights), NAN), np.full(len(permuted), NAN))
    signs = sample.signs[np.ix_(rows, rows)]
    point, draws = point_counts(x, y, signs), pair_counts(x, y, units, cohort.draws.weights, signs)
    p = permutation_p(float(point.concordance[0]), permuted, n)
    estimates = []
    for name, value, drawn in (
        ("tau_within", point.tau_b, draws.tau_b),
        ("tau_a", point.tau_a, draws.tau_a),
    ):
        low, high = percentile_interval(drawn)
        reason = interval_reason(len(np.unique(units))) if np.isnan(low) else ""
        reason = reason or ("" if np.isfinite(p) else "no unit can be exchanged")
        estimates.append(Estimate(name, axis, level.name, n, n_pairs(n), float(value[0]), low, high, p, reason))
    scale = float(point.tau_b[0] / point.concordance[0]) if point.concordance[0] else _scale(x, y)
    return LevelResult(estimates, float(point.tau_b[0]), draws.tau_b, permuted * scale)


def _scale(x: Floats, y: Floats) -> float:
    """Return 1 / sqrt of the untied pairs: what turns a concordance of zero, permuted, into a tau_b."""
    counts = point_counts(x, y)
    untied = (counts.total - counts.ties_x) * (counts.total - counts.ties_y)
    return float(1 / np.sqrt(untied[0]))


def _pi(axis: str, inside: list[LevelResult], sample: Sample) -> tuple[Estimate, Floats]:
    """Average the levels in which tau exists."""
    defined = [level for level in inside if np.isfinite(level.tau)]
    n_models = sum(level.rows[0].n_models for level in defined)
    pairs = sum(level.rows[0].n_pairs for level in defined)
    if not defined:
        empty = np.full(len(sample.cohort.draws.weights), NAN)
        return Estimate("pi", axis, "", 0, 0, NAN, reason="tau exists in no level of this setting"), empty
    estimate = float(np.mean([level.tau for level in defined]))
    draws = mean_defined(np.stack([level.draws for level in defined]))
    permuted = np.mean([level.permuted for level in defined], axis=0)
    low, high = percentile_interval(draws)
    reason = interval_reason(len(np.unique(sample.cohort.units))) if np.isnan(low) else ""
    p = permutation_p(estimate, permuted, sample.n)
    reason = reason or ("" if np.isfinite(p) else "no unit can be exchanged")
    return Estimate("pi", axis, "", n_models, pairs, estimate, low, high, p, reason), draws


def pi_mean(pis: list[tuple[Estimate, Floats]], sample: Sample) -> Estimate:
    """Return the mean of pi over the settings that have one; its p-value inverts the bootstrap interval."""
    defined = [(row, draws) for row, draws in pis if np.isfinite(row.estimate)]
    if not defined:
        reason = sample.flaw or "no setting has a pi"
        return Estimate("pi_mean", "", "", sample.n, 0, NAN, reason=reason)
    estimate = float(np.mean([row.estimate for row, _ in defined]))
    draws = mean_defined(np.stack([drawn for _, drawn in defined]))
    low, high = percentile_interval(draws)
    reason = interval_reason(len(np.unique(sample.cohort.units))) if np.isnan(low) else ""
    pairs = sum(row.n_pairs for row, _ in defined)
    return Estimate("pi_mean", "", "", sample.n, pairs, estimate, low, high, bootstrap_p(draws), reason)


def mean_defined(values: Floats) -> Floats:
    """Return the mean over the first axis of what is defined there; NaN where nothing is."""
    present = np.isfinite(values)
    count = present.sum(axis=0)
    total = np.where(present, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), NAN)
