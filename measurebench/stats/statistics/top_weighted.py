"""A rank correlation in which the best models count most: for leaderboards."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from measurebench.core.columns import is_gap
from measurebench.stats.resampling.draws import Floats, bootstrap_p
from measurebench.stats.resampling.intervals import FEW_UNITS
from measurebench.stats.resampling.pair_counts import concordance_by_model, drawn_concordance, ratio, tie_sizes, ties
from measurebench.stats.statistics.estimates import NAN, Cohort, Estimate, Sample, n_pairs
from measurebench.stats.statistics.overall import bootstrapped
from measurebench.stats.statistics.registry import Asked, statistic

__all__ = ["Top", "top_weighted"]


@dataclass(frozen=True)
class Top:
    """The weight h [n] of each model of a cohort, 1/(1 + rank), and what no measure changes computed once.

    Rank 0 is the best model; equal ones share the mean rank.
    """

    cohort: Cohort
    h: Floats

    @classmethod
    def of(cls, cohort: Cohort, top_is_low: bool) -> "Top":
        """Rank the models by the target, the smallest first if ``top_is_low``, else the largest."""
        from scipy.stats import rankdata

        return cls(cohort, 1.0 / rankdata(cohort.y if top_is_low else -cohort.y))

    @cached_property
    def everything(self) -> Floats:
        """The weight of all pairs, models with themselves too: [draws]."""
        return self._tied_in(np.zeros(len(self.h)))

    @cached_property
    def alone(self) -> Floats:
        """The weight of the pairs of a model with itself: [draws]."""
        return self._tied_in(np.arange(len(self.h), dtype=np.float64))

    @cached_property
    def untied_y(self) -> Floats:
        """The weight of the pairs in which the target differs: [draws]."""
        return self.untied(self.cohort.y)

    @cached_property
    def point_untied_y(self) -> float:
        """The same in the table itself."""
        return self.point_untied(self.cohort.y)

    def untied(self, values: Floats) -> Floats:
        """Return the weight of the pairs in which values [n] differ: [draws]."""
        all_differ = len(tie_sizes(values)) == len(values)
        return self.everything - (self.alone if all_differ else self._tied_in(values))

    def point_untied(self, values: Floats) -> float:
        """Return the weight of the table's pairs in which values [n] differ."""
        _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
        return float(self.h @ (len(values) - counts[group]))

    def _tied_in(self, values: Floats) -> Floats:
        """Sum the weight of the pairs of equal values, as ``PairCounts`` counts pairs: [draws]."""
        return ties(values, self.cohort.drawn, self.h)


@statistic(
    "weighted_tau",
    title="Top-weighted tau",
    explanation="Kendall's tau in which the target's best models count most.",
    table="supplement",
    place=10,
)
def top_weighted(sample: Sample, asked: Asked) -> list[Estimate]:
    """Return Kendall's tau with additive hyperbolic weights 1/(1+rank) on the target's best models (Vigna 2015).

    A pair counts h_i + h_j. The best model has the smallest gap, or the largest value of any other target. In the
    bootstrap a model keeps the rank that it has in the table. The p-value inverts the bootstrap interval; with fewer
    than 12 units both are withheld, since no permutations check them.
    """
    top = asked.shared(_top)
    untied = top.point_untied(sample.x) * top.point_untied_y
    agreement = float(top.h @ concordance_by_model(sample.x, sample.cohort.y))
    point = agreement / np.sqrt(untied) if untied > 0 else NAN
    if not sample.flaw and (n_units := sample.cohort.drawn.n_units) < FEW_UNITS:
        reason = f"{n_units} units are too few for an interval or a test of a top-weighted tau"
        return [Estimate("weighted_tau", "", "", sample.n, n_pairs(sample.n), float(point), reason=reason)]
    draws = _tau(sample, top)
    return [bootstrapped("weighted_tau", "", "", sample, point, draws, bootstrap_p(draws))]


def _top(asked: Asked) -> Top:
    return Top.of(asked.cohort, top_is_low=is_gap(asked.population.target))


def _tau(sample: Sample, top: Top) -> Floats:
    """Sum s_ij (h_i + h_j) over the pairs, over the same sums of the pairs untied in x and in y: [draws]."""
    concordance = drawn_concordance(sample.x, sample.cohort.y, sample.cohort.drawn, top.h)
    both = np.maximum(top.untied(sample.x), 0) * np.maximum(top.untied_y, 0)
    return ratio(concordance, np.sqrt(both))
