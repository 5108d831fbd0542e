"""A statistic: Goodman and Kruskal's gamma."""

import numpy as np

from measurebench.stats.statistics.estimates import Estimate, Sample, n_pairs
from measurebench.stats.statistics.registry import Asked, statistic

__all__ = ["gamma"]

_NAME = "goodman_kruskal_gamma"


@statistic(_NAME, title="Gamma", explanation="Rank correlation over the pairs that are tied in neither variable.")
def gamma(sample: Sample, asked: Asked) -> list[Estimate]:
    """Return (C - D) / (C + D), C concordant and D discordant pairs (Goodman and Kruskal 1954, eq. 8)."""
    if sample.flaw:  # fewer than two models, or nothing varies
        return [sample.missing(_NAME, sample.flaw)]
    x, y = (np.sign(np.subtract.outer(values, values)) for values in (sample.x, sample.cohort.y))
    untied = float(np.abs(x * y).sum())
    if not untied:
        return [sample.missing(_NAME, "all pairs are tied")]
    value = float((x * y).sum()) / untied
    reason = "no interval and no test"
    return [Estimate(_NAME, "", "", sample.n, n_pairs(sample.n), value, reason=reason)]
