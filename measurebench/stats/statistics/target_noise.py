"""The sampling error of the target itself: how well a gap is known from so many images."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from measurebench.core.columns import Column, accuracy_column, count_columns, describe
from measurebench.stats.population.population import Population
from measurebench.stats.resampling.concordance import concordances, ranks_of
from measurebench.stats.resampling.draws import Floats, percentile_interval
from measurebench.stats.resampling.pair_counts import PairCounts, point_counts, ratio
from measurebench.stats.statistics.estimates import NAN, Estimate, Sample, n_pairs

__all__ = ["REDRAWS", "Proportion", "TargetError", "gap_error", "noise", "target_error"]

REDRAWS = 200


@dataclass(frozen=True)
class Proportion:
    """One proportion of the target: accuracy in [0, 1] over n images per model, counted with ``sign``."""

    accuracy: Floats
    n: Floats
    sign: int


@dataclass(frozen=True)
class TargetError:
    """The proportions that the target is made of, NaN where a model does not have them."""

    parts: tuple[Proportion, ...]

    @property
    def standard_error(self) -> Floats:
        """The binomial standard error of the target: sqrt(sum of p(1-p)/n), [models]."""
        return np.asarray(np.sqrt(sum(p.accuracy * (1 - p.accuracy) / p.n for p in self.parts)))

    @property
    def inverse_n(self) -> Floats:
        """The sum of 1/n over the proportions: [models]."""
        return np.asarray(sum(1 / p.n for p in self.parts))

    def redrawn(self, draws: int, seed: int) -> Floats:
        """Draw the target again from binomial counts with the accuracies found: [draws, models]."""
        rng = np.random.default_rng(seed)
        total = np.zeros((draws, len(self.parts[0].n)))
        for part in self.parts:
            counts = rng.binomial(part.n.astype(np.int64), part.accuracy, size=(draws, len(part.n)))
            total += part.sign * counts / part.n
        return total


def target_error(people: Population) -> TargetError | None:
    """Return what the target is made of, or None where the table lacks the accuracies or the numbers of images."""
    parts = []
    for column, sign in _accuracies(people.target):
        accuracy = people.column(column.name)
        counts = count_columns(column.attack, column.split)
        n = next((found for name in counts if (found := people.column(name)) is not None), None)
        if accuracy is None or n is None:
            return None
        usable = (accuracy >= 0) & (accuracy <= 1) & (n >= 1)
        parts.append(Proportion(np.where(usable, accuracy, NAN), np.where(usable, np.floor(n), NAN), sign))
    return TargetError(tuple(parts)) if parts else None


def _accuracies(target: str) -> list[tuple[Column, int]]:
    """Return the accuracies whose sum, each with its sign, is the target: of a gap both, of an accuracy itself."""
    column = describe(target)
    if column.role == "gap" and column.attack:
        signs = (("train", 1), ("test", -1))
        return [(describe(accuracy_column(column.attack, split)), sign) for split, sign in signs]
    return [(column, 1)] if column.role == "outcome" else []


def gap_error(error: TargetError | None, y: Floats) -> dict[str, Any]:
    """Return how well the target is known, and how many pairs of models differ by less than two standard errors."""
    if error is None:
        return {"known": False, "reason": "the table has no accuracies and numbers of images for this target"}
    se = error.standard_error
    known = np.flatnonzero(np.isfinite(se))
    pairs = n_pairs(len(known))
    i, j = np.triu_indices(len(known), 1)
    close = np.abs(y[known][i] - y[known][j]) < 2 * np.sqrt(se[known][i] ** 2 + se[known][j] ** 2)
    indistinct = int(np.count_nonzero(close))
    return {
        "known": bool(len(known)),
        "n_models": len(known),
        "median_standard_error": _median(se[known]),
        "n_pairs": pairs,
        "n_indistinct": indistinct,
        "share_indistinct": indistinct / pairs if pairs else None,
    }


def noise(samples: list[Sample], error: TargetError, draws: list[PairCounts], seed: int) -> list[list[Estimate]]:
    """Return for each sample of one cohort how far tau_b moves when the target is measured again.

    tau_b_gap_noise: mean and 95 % range of tau_b over binomial redraws, the models fixed. tau_b_total_error: the
    estimate with an interval from both sources, each bootstrap draw moved by the deviation of one redraw.
    """
    cohort = samples[0].cohort
    own = TargetError(tuple(Proportion(p.accuracy[cohort.rows], p.n[cohort.rows], p.sign) for p in error.parts))
    keep = np.flatnonzero(np.isfinite(own.standard_error))
    usable = [s for s in samples if not s.flaw]
    if len(keep) < len(cohort.y) or not usable:
        reason = "some models lack accuracies or numbers of images"
        return [[_missing(s, name, s.flaw or reason) for name in _NAMES] for s in samples]
    redrawn = own.redrawn(REDRAWS, seed + 6)
    numerators, untied = concordances(np.stack([s.x for s in samples]), ranks_of(redrawn.round(12)))
    rows = []
    for sample, numerator, counts in zip(samples, numerators, draws, strict=True):
        if sample.flaw:
            rows.append([_missing(sample, name, sample.flaw) for name in _NAMES])
            continue
        point = point_counts(sample.x, cohort.y, sample.concordance)
        taus = ratio(numerator, np.sqrt(untied * (point.total - point.ties_x)))
        rows.append(_both(sample, float(point.tau_b[0]), taus, counts.tau_b))
    return rows


_NAMES = ("tau_b_gap_noise", "tau_b_total_error")


def _both(sample: Sample, estimate: float, taus: Floats, draws: Floats) -> list[Estimate]:
    low, high = percentile_interval(taus)
    reason = "the range of the estimate under measurement error alone; no test"
    pairs = n_pairs(sample.n)
    alone = Estimate(_NAMES[0], "", "", sample.n, pairs, float(np.nanmean(taus)), low, high, NAN, reason)
    moved = draws + np.resize(taus - np.nanmean(taus), len(draws))
    low, high = percentile_interval(moved)
    return [
        alone,
        replace(
            alone,
            statistic=_NAMES[1],
            estimate=estimate,
            low=low,
            high=high,
            reason="an interval for bootstrap and measurement error together; no test",
        ),
    ]


def _missing(sample: Sample, name: str, reason: str) -> Estimate:
    return Estimate(name, "", "", sample.n, n_pairs(sample.n), NAN, reason=reason)


def _median(values: Floats) -> float | None:
    return float(np.median(values)) if len(values) else None
