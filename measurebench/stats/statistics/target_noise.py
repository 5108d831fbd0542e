"""How far tau_b moves when the target is measured again on as many images."""

from dataclasses import replace

import numpy as np

from measurebench.stats.population.target_error import Proportion, TargetError
from measurebench.stats.resampling.concordance import concordances, ranks_of
from measurebench.stats.resampling.draws import Floats, percentile_interval
from measurebench.stats.resampling.intervals import checked_interval
from measurebench.stats.resampling.pair_counts import PairCounts, ratio
from measurebench.stats.statistics.estimates import Estimate, Sample, n_pairs
from measurebench.stats.statistics.overall import kendall_of
from measurebench.stats.statistics.registry import Asked, statistic

__all__ = ["REDRAWS", "noise", "target_noise"]

REDRAWS = 200
"""Binomial redraws of the target: their 95 % range is known to about a tenth of its width, at a tenth of the cost of
as many redraws as bootstrap draws."""

_NAMES = ("tau_b_gap_noise", "tau_b_total_error")


@statistic(
    "target_noise",
    title="tau_b when the target is measured again",
    explanation="The range of tau_b over binomial redraws of the accuracies, the models fixed; and the interval of "
    "tau_b with both sources of error, models and images.",
    table="supplement",
    writes=_NAMES,
    place=40,
)
def target_noise(sample: Sample, asked: Asked) -> list[Estimate]:
    """Return the range under measurement error alone, and the interval with both; nothing where no error is known."""
    return asked.shared(_noise).get(sample.name, [])


def _noise(asked: Asked) -> dict[str, list[Estimate]]:
    if asked.question.error is None:
        return {}
    taus = [asked.shared(kendall_of)[sample.name] for sample in asked.samples]
    rows = noise(
        asked.samples, asked.question.error, [counts for _, counts in taus], [found[0].p_value for found, _ in taus]
    )
    return {sample.name: found for sample, found in zip(asked.samples, rows, strict=True)}


def noise(
    samples: list[Sample], error: TargetError, draws: list[PairCounts], p_values: list[float]
) -> list[list[Estimate]]:
    """Return for each sample of one cohort how far tau_b moves when the target is measured again.

    tau_b_gap_noise: mean and 95 % range of tau_b over binomial redraws, the models fixed. tau_b_total_error: the
    estimate with an interval from both sources, each bootstrap draw moved by the deviation of one redraw. With few
    units it is checked by the p-value of tau_b, from ``p_values`` (``checked_interval``).
    """
    cohort = samples[0].cohort
    own = TargetError(tuple(Proportion(p.accuracy[cohort.rows], p.n[cohort.rows], p.sign) for p in error.parts))
    keep = np.flatnonzero(np.isfinite(own.standard_error))
    usable = [s for s in samples if not s.flaw]
    if len(keep) < len(cohort.y) or not usable:
        reason = "some models lack accuracies or numbers of images"
        return [[s.missing(name, s.flaw or reason) for name in _NAMES] for s in samples]
    redrawn = own.redrawn(REDRAWS, cohort.draws.stream("target drawn again"))
    numerators, untied = concordances(np.stack([s.x for s in samples]), ranks_of(redrawn.round(12)))
    rows = []
    for sample, numerator, counts, p in zip(samples, numerators, draws, p_values, strict=True):
        if sample.flaw:
            rows.append([sample.missing(name, sample.flaw) for name in _NAMES])
            continue
        point = sample.point
        taus = ratio(numerator, np.sqrt(untied * (point.total - point.ties_x)))
        rows.append(_both(sample, float(point.tau_b[0]), taus, counts.tau_b, p))
    return rows


def _both(sample: Sample, estimate: float, taus: Floats, draws: Floats, p: float) -> list[Estimate]:
    low, high = percentile_interval(taus)
    reason = "the range of the estimate under measurement error alone; no test"
    pairs = n_pairs(sample.n)
    alone = Estimate(_NAMES[0], "", "", sample.n, pairs, float(np.nanmean(taus)), low, high, reason=reason)
    moved = draws + np.resize(taus - np.nanmean(taus), len(draws))
    low, high, why_none = checked_interval(*percentile_interval(moved), estimate, sample.cohort.drawn.n_units, p)
    return [
        alone,
        replace(
            alone,
            statistic=_NAMES[1],
            estimate=estimate,
            low=low,
            high=high,
            reason=why_none or "an interval for bootstrap and measurement error together; no test",
        ),
    ]
