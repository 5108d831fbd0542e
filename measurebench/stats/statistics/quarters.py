"""tau_b inside quarters of a control: what is left of an association among models of like train robust accuracy."""

import numpy as np

from measurebench.stats.resampling.draws import Floats
from measurebench.stats.statistics.conditional import Level, conditional
from measurebench.stats.statistics.estimates import Estimate, Sample
from measurebench.stats.statistics.registry import Asked, statistic

__all__ = ["MIN_IN_QUARTER", "by_quarter", "quarters"]

MIN_IN_QUARTER = 5
"""Fewer models than this give a tau that chance alone can make almost anything."""


@statistic(
    "quarters",
    title="tau_b inside quarters of a control",
    explanation="tau_b among models of like train robust accuracy, or of like value of another column held fixed.",
    axes="control",
    table="supplement",
    writes=("tau_within",),
    place=60,
)
def by_quarter(sample: Sample, asked: Asked) -> list[Estimate]:
    """Return tau_b inside each quarter of each control, where a quarter holds at least five models."""
    return [row for results in asked.shared(_by_control) for row in results[sample.name]]


def _by_control(asked: Asked) -> list[dict[str, list[Estimate]]]:
    every = []
    for name, z in asked.question.controls.items():
        levels = quarters(z[asked.cohort.rows])
        results = conditional(name, levels, asked.samples) if levels else [([], np.empty(0))] * len(asked.samples)
        inside = [[row for row in found if row.statistic == "tau_within"] for found, _ in results]
        every.append(dict(zip((sample.name for sample in asked.samples), inside, strict=True)))
    return every


def quarters(z: Floats) -> list[Level]:
    """Divide models into quarters of a control z [n], NaN where missing; none where a quarter has under five models."""
    known = np.isfinite(z)
    if known.sum() < 4 * MIN_IN_QUARTER:
        return []
    cuts = np.quantile(z[known], [0.25, 0.5, 0.75])
    quarter = np.searchsorted(cuts, z, side="right")
    parts = [np.flatnonzero(known & (quarter == k)) for k in range(4)]
    if min(len(rows) for rows in parts) < MIN_IN_QUARTER:
        return []
    return [Level(f"quarter {k + 1}: {z[rows].min():.4g} to {z[rows].max():.4g}", rows) for k, rows in enumerate(parts)]
