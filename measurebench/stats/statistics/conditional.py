"""Conditional statistics: tau inside each level of a setting, and its mean pi over the levels."""

from dataclasses import dataclass, replace

import numpy as np

from measurebench.stats.population.population import UNSTATED
from measurebench.stats.resampling.concordance import concordance_sums
from measurebench.stats.resampling.draws import (
    NORMAL_FROM,
    Floats,
    Ints,
    bootstrap_p,
    moves,
    n_permutations,
    percentile_interval,
    permutation_p,
)
from measurebench.stats.resampling.intervals import FEW_UNITS, checked_interval, rank_interval, why_no_interval
from measurebench.stats.resampling.pair_counts import pair_counts, point_counts
from measurebench.stats.statistics.estimates import NAN, Cohort, Estimate, Sample, flaw, n_pairs
from measurebench.stats.statistics.registry import Asked, statistic

__all__ = [
    "NORMAL_UNITS",
    "Inside",
    "Level",
    "LevelResult",
    "by_level",
    "conditional",
    "levels_of",
    "mean_defined",
    "pi_mean",
]

NORMAL_UNITS = 30
"""With so many units inside, a level of a large table takes the tail of its p-values from the normal distribution.

Fewer units have few different exchanges, and their tail is not normal.
"""

_FEW = 10  # permutations: with fewer that lie as far out as the table itself, p is known to a third at best
_AT_A_TIME = 20_000  # permutations: of 60 models they take 10 MB
_TIE = 1e-12  # differences below this are rounding


@dataclass(frozen=True)
class Level:
    """The models of a cohort at one level of a setting: positions in the cohort."""

    name: str
    rows: Ints


@dataclass(frozen=True)
class Inside:
    """One level of a setting within a cohort: its models as a cohort of their own, shared by all measures."""

    axis: str
    level: Level
    whole: Cohort
    cohort: Cohort

    @classmethod
    def of(cls, axis: str, level: Level, whole: Cohort) -> "Inside":
        """Take the models at a level of a setting out of a cohort."""
        return cls(axis, level, whole, whole.at(level.rows))

    def concordance(self, permuted: Ints, samples: list[Sample]) -> Floats:
        """Return the concordance of each sample with the target's ranks after each exchange: [samples, permutations].

        ``permuted`` [permutations, models of the cohort].
        """
        rows = self.level.rows
        if len(rows) < 2:
            return np.full((len(samples), len(permuted)), NAN)
        return concordance_sums(np.stack([s.x[rows] for s in samples]), np.take(permuted, rows, axis=1))

    @property
    def is_small(self) -> bool:
        """Whether the level is of few units in a large cohort: its p-values count exchanges of its own.

        A normal tail from a handful of units would claim more than they can show.
        """
        return len(self.whole.y) >= NORMAL_FROM and self.cohort.drawn.n_units < NORMAL_UNITS

    def alone(self, samples: list[Sample]) -> Floats:
        """Return the concordance of each sample after exchanges inside this level alone: [samples, permutations]."""
        if len(self.level.rows) < 2:
            return np.full((len(samples), 1), NAN)
        draws, everywhere = self.whole.draws, np.zeros(len(self.level.rows), np.int64)
        moved = moves(
            everywhere, self.cohort.units, draws.permutations, draws.stream("tau inside", self.axis, self.level.name)
        )
        return concordance_sums(np.stack([s.x[self.level.rows] for s in samples]), self.cohort.rank_y[moved])

    def n_as_far(self, samples: list[Sample], found: Floats, wanted: int) -> Ints:
        """Return, of so many exchanges inside this level, those with a concordance at least as far from 0: [samples].

        ``found`` [samples] is the concordance of each sample itself.
        """
        x, count = np.stack([s.x[self.level.rows] for s in samples]), np.zeros(len(samples), np.int64)
        everywhere, draws = np.zeros(len(self.level.rows), np.int64), self.whole.draws
        for start in range(0, wanted, _AT_A_TIME):
            size = min(_AT_A_TIME, wanted - start)
            seed = draws.stream("tau inside, finer", self.axis, self.level.name, str(start))
            moved = moves(everywhere, self.cohort.units, size, seed)
            count += (np.abs(concordance_sums(x, self.cohort.rank_y[moved])) >= np.abs(found)[:, None] - _TIE).sum(1)
        return count


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


def conditional(
    axis: str, levels: list[Level], samples: list[Sample], is_defense: bool = False
) -> list[tuple[list[Estimate], Floats]]:
    """Return for each sample tau_within and tau_a per level and pi of the setting, with pi's draws [draws].

    pi_k is the mean of tau_b over the levels of setting k in which it exists (Kim et al. 2023); the p-values
    move whole units inside each level. Those inside the levels of the defense, where a stricter test may be asked for,
    are made finer (``_tested``).
    """
    cohort = samples[0].cohort
    strata = np.full(len(cohort.y), -1, np.int64)
    for k, level in enumerate(levels):
        strata[level.rows] = k
    n_moves = n_permutations(len(cohort.y), cohort.draws.permutations)
    moved = moves(strata, cohort.units, n_moves, cohort.draws.stream("pi", axis))
    ranks = np.concatenate([cohort.rank_y[None], cohort.rank_y[moved]])
    parts = [Inside.of(axis, level, cohort) for level in levels]
    wanted = cohort.draws.permutations_inside if is_defense else 0
    both = [part.concordance(ranks, samples) for part in parts]
    found, permuted = [sums[:, 0] for sums in both], [sums[:, 1:] for sums in both]
    tails = [part.alone(samples) if part.is_small else permuted[k] for k, part in enumerate(parts)]
    tests = [_tested(part, samples, found[k], tails[k], wanted) for k, part in enumerate(parts)]
    results = []
    for m, sample in enumerate(samples):
        inside = [
            _inside(axis, part, sample, float(found[k][m]), permuted[k][m], tests[k][m]) for k, part in enumerate(parts)
        ]
        pi, draws = _pi(axis, inside, sample)
        results.append(([row for level in inside for row in level.rows] + [pi], draws))
    return results


@statistic(
    "conditional",
    title="Conditional tau",
    explanation="tau_b among the models that share one level of a setting (tau_within), its mean over the levels "
    "(pi) and over the settings (pi_mean).",
    axes="setting",
    writes=("tau_within", "tau_a", "pi", "pi_mean"),
    family="secondary",
    place=30,
    apart=("tau_a",),
)
def by_level(sample: Sample, asked: Asked) -> list[Estimate]:
    """Return tau_within and tau_a at each level and pi, setting by setting, then pi_mean; nothing without settings."""
    found = [results[sample.name] for results in asked.shared(_by_axis)]
    rows = [row for inside, _ in found for row in inside]
    return [*rows, pi_mean([(inside[-1], drawn) for inside, drawn in found], sample)] if found else []


def _by_axis(asked: Asked) -> list[dict[str, tuple[list[Estimate], Floats]]]:
    names = [sample.name for sample in asked.samples]
    every = [
        conditional(axis, levels_of(of, asked.cohort), asked.samples, axis == asked.population.defense)
        for axis, of in asked.population.levels.items()
    ]
    return [dict(zip(names, results, strict=True)) for results in every]


def _tested(part: Inside, samples: list[Sample], found: Floats, tails: Floats, wanted: int) -> list[tuple[float, int]]:
    """Return the p-value of each sample inside a level, and the permutations it counts among: 0 for a normal tail.

    ``found`` [samples] is the concordance of each, ``tails`` [samples, permutations] those after exchanges. Where fewer
    than ``_FEW`` of the permutations lie as far out, p is coarse. Then a level of many units takes the tail from the
    normal distribution, and a smaller one counts among ``wanted`` exchanges of its own (0: leaves p as it is).
    """
    has_many, n_models = part.cohort.drawn.n_units >= NORMAL_UNITS, len(part.whole.y)
    if has_many and n_models >= NORMAL_FROM:
        return [(permutation_p(value, tail, n_models), 0) for value, tail in zip(found.tolist(), tails, strict=True)]
    tests = [(permutation_p(value, tail), tails.shape[1]) for value, tail in zip(found.tolist(), tails, strict=True)]
    coarse = [k for k, (p, n) in enumerate(tests) if p < (_FEW + 0.5) / (1 + n)]
    if has_many:
        for k in coarse:
            tests[k] = permutation_p(float(found[k]), tails[k], NORMAL_FROM), 0
    elif coarse and wanted > tails.shape[1]:
        as_far = part.n_as_far([samples[k] for k in coarse], found[coarse], wanted)
        for k, n in zip(coarse, as_far.tolist(), strict=True):
            tests[k] = (1 + n) / (1 + wanted), wanted
    return tests


def _inside(
    axis: str, part: Inside, sample: Sample, concordance: float, permuted: Floats, test: tuple[float, int]
) -> LevelResult:
    cohort, level = part.cohort, part.level.name
    x, y, n = sample.x[part.level.rows], cohort.y, len(cohort.y)
    reason = flaw(x, y)
    if reason:
        missing = [Estimate(name, axis, level, n, n_pairs(n), NAN, reason=reason) for name in ("tau_within", "tau_a")]
        return LevelResult(missing, NAN, np.full(len(cohort.draws.weights), NAN), np.full(len(permuted), NAN))
    point = point_counts(x, y, concordance, cohort.point_ties_y)
    draws = pair_counts(x, y, cohort.drawn, ties_y=cohort.ties_y, rank_y=cohort.rank_y)
    p, n_permutations = test
    estimates = []
    for name, value, drawn in (("tau_within", point.tau_b, draws.tau_b), ("tau_a", point.tau_a, draws.tau_a)):
        n_units = cohort.drawn.n_units
        low, high, reason = rank_interval(float(value[0]), drawn, n_units, p)
        reason = reason or ("" if np.isfinite(p) else "no unit can be exchanged")
        row = Estimate(name, axis, level, n, n_pairs(n), float(value[0]), low, high, p, reason)
        estimates.append(replace(row, n_units=n_units, n_permutations=n_permutations))
    scale = float(point.tau_b[0] / point.concordance[0]) if point.concordance[0] else _scale(x, y)
    return LevelResult(estimates, float(point.tau_b[0]), draws.tau_b, permuted * scale)


def _scale(x: Floats, y: Floats) -> float:
    """Return 1 / sqrt of the untied pairs: what turns a concordance of zero, permuted, into a tau_b."""
    counts = point_counts(x, y, 0.0)
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
    p = permutation_p(estimate, permuted, sample.n)
    low, high, reason = checked_interval(*percentile_interval(draws), estimate, sample.cohort.drawn.n_units, p)
    reason = reason or ("" if np.isfinite(p) else "no unit can be exchanged")
    return Estimate("pi", axis, "", n_models, pairs, estimate, low, high, p, reason), draws


def pi_mean(pis: list[tuple[Estimate, Floats]], sample: Sample) -> Estimate:
    """Return the mean of pi over the settings that have one, from each pi and its draws [draws].

    The p-value inverts the bootstrap interval. With fewer than 12 units both are withheld: no permutations check them.
    """
    defined = [(row, draws) for row, draws in pis if np.isfinite(row.estimate)]
    if not defined:
        reason = sample.flaw or "no setting has a pi"
        return Estimate("pi_mean", "", "", sample.n, 0, NAN, reason=reason)
    estimate = float(np.mean([row.estimate for row, _ in defined]))
    pairs = sum(row.n_pairs for row, _ in defined)
    if (n_units := sample.cohort.drawn.n_units) < FEW_UNITS:
        reason = f"{n_units} units are too few for an interval or a test of a mean pi"
        return Estimate("pi_mean", "", "", sample.n, pairs, estimate, reason=reason)
    draws = mean_defined(np.stack([drawn for _, drawn in defined]))
    low, high = percentile_interval(draws)
    reason = why_no_interval(estimate, n_units) if np.isnan(low) else ""
    return Estimate("pi_mean", "", "", sample.n, pairs, estimate, low, high, bootstrap_p(draws), reason)


def mean_defined(values: Floats) -> Floats:
    """Return the mean over the first axis of values [k, draws], without NaN: [draws]; NaN where nothing is defined.

    >>> mean_defined(np.array([[1.0, NAN], [3.0, NAN]])).tolist()
    [2.0, nan]
    """
    present = np.isfinite(values)
    count = present.sum(axis=0)
    total = np.where(present, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), NAN)
