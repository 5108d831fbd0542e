"""A rank correlation in which the best models count most: for leaderboards."""

import numpy as np

from measurebench.stats.estimates import NAN, Estimate, Sample
from measurebench.stats.overall import bootstrapped
from measurebench.stats.rank import collapsed, membership, quadratic, ratio
from measurebench.stats.resampling import Floats, Ints, Singles, bootstrap_p


def top_weighted(sample: Sample, top_is_low: bool) -> Estimate:
    """Return Kendall's tau with additive hyperbolic weights 1/(1+rank) on the target's best models (Vigna 2015).

    A pair counts h_i + h_j. Rank 0 is the best model: the smallest target if ``top_is_low``, else the largest;
    equal ones share the mean rank. In the bootstrap a model keeps the rank that it has in the table.
    """
    from scipy.stats import rankdata

    cohort = sample.cohort
    h = 1.0 / rankdata(cohort.y if top_is_low else -cohort.y)
    point = _point(sample, h)
    draws = _tau(sample, h, cohort.units, cohort.draws.weights)
    return bootstrapped("weighted_tau", "", "", sample, point, draws, bootstrap_p(draws))


def _point(sample: Sample, h: Floats) -> float:
    """Return the statistic of the table itself, in float64."""
    signs = (sample.signs, np.abs(sample.signs_x), np.abs(sample.cohort.signs_y))
    concordance, untied_x, untied_y = (float(h @ s.sum(axis=1, dtype=np.int64)) for s in signs)
    return concordance / np.sqrt(untied_x * untied_y) if untied_x * untied_y > 0 else NAN


def _tau(sample: Sample, h: Floats, units: Ints, weights: Singles) -> Floats:
    """Sum s_ij (h_i + h_j) over the pairs, over the same sums of the pairs untied in x and in y: [draws]."""
    present, local = np.unique(units, return_inverse=True)
    chosen = weights if len(present) == weights.shape[1] else weights[:, present]
    importance = (h[:, None] + h[None, :]) / 2
    concordance = quadratic(chosen, collapsed(sample.signs * importance.astype(np.float32), local))
    everything = _tied(np.zeros(sample.n), h, local, chosen)
    untied_x = everything - _tied(sample.x, h, local, chosen)
    untied_y = everything - _tied(sample.cohort.y, h, local, chosen)
    return ratio(concordance, np.sqrt(np.maximum(untied_x, 0) * np.maximum(untied_y, 0)))


def _tied(values: Floats, h: Floats, local: Ints, weights: Singles) -> Floats:
    """Sum over groups of equal values of (sum of w h)(sum of w): [draws]."""
    group = np.unique(values, return_inverse=True)[1]
    counts = membership(group, local) @ weights.T
    heavy = membership(group, local, h) @ weights.T
    return np.asarray(np.einsum("gb,gb->b", counts, heavy, dtype=np.float64))
