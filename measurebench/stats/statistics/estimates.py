"""What all statistics share: an estimate with its circumstances, and a measure with the models that have it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from measurebench.stats.population.population import Population
from measurebench.stats.resampling.concordance import concordance_sums, ranks_of
from measurebench.stats.resampling.draws import (
    Floats,
    Ints,
    Singles,
    bootstrap_weights,
    donations,
    n_permutations,
    stream,
)
from measurebench.stats.resampling.pair_counts import Counts, Drawn, PairCounts, point_counts, ties, weights_in_blocks

__all__ = ["NAN", "Cohort", "Draws", "Estimate", "Sample", "flaw", "n_pairs"]

NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """A statistic of one measure: a row of the correlations or of the supplement.

    ``reason`` says why the estimate, its interval or its p-value is missing. ``target`` is empty for the target of the
    analysis. ``n_units`` are the independent units of its models, 0 where a statistic does not say;
    ``n_permutations`` those that its p-value counts among, 0 where it counts none.
    """

    statistic: str
    axis: str
    level: str
    n_models: int
    n_pairs: int
    estimate: float
    low: float = NAN
    high: float = NAN
    p_value: float = NAN
    reason: str = ""
    target: str = ""
    n_units: int = 0
    n_permutations: int = 0

    def row(self, measure: str, target: str) -> dict[str, Any]:
        """Return the estimate as a row of the correlations."""
        return {
            "measure": measure,
            "target": self.target or target,
            "statistic": self.statistic,
            "axis": self.axis,
            "level": self.level,
            "n_models": self.n_models,
            "n_pairs": self.n_pairs,
            "estimate": self.estimate,
            "ci_low": self.low,
            "ci_high": self.high,
            "p_value": self.p_value,
            "p_adjusted": NAN,
        }


@dataclass(frozen=True)
class Draws:
    """What is random: the weights [draws, units] of the bootstrap, the number of permutations, and the seed.

    ``scope`` sets apart the streams of a population that is judged besides the whole one. ``permutations_inside``
    is their number for a p-value inside a defense that fewer would leave too coarse; 0 leaves it so.
    """

    weights: Singles
    permutations: int
    seed: int
    scope: str = ""
    permutations_inside: int = 0

    @cached_property
    def weights_double(self) -> Floats:
        """The weights as float64 [draws, units], for products with float64."""
        return self.weights.astype(np.float64)

    @cached_property
    def in_blocks(self) -> Counts:
        """The weights as the kernels take them: [blocks, units, draws of a block]."""
        return weights_in_blocks(self.weights)

    def stream(self, *name: str) -> int:
        """Return the seed of a stream of random numbers of its own, named after what it is for."""
        return stream(*name, self.scope, seed=self.seed)

    @classmethod
    def of(
        cls, population: Population, bootstrap: int, permutations: int, seed: int, permutations_inside: int = 0
    ) -> "Draws":
        """Draw the units of a population once, so that all statistics see the same resamples."""
        weights = bootstrap_weights(population.n_units, bootstrap, stream("bootstrap of units", seed=seed))
        return cls(weights, permutations, seed, permutations_inside=permutations_inside)


@dataclass(frozen=True)
class Cohort:
    """The n models on which a measure has a value, with all that does not depend on the measure computed once.

    ``rows`` [n] are their positions in the population, ``y`` [n] is the target, ``units`` [n] the run of each.
    """

    rows: Ints
    y: Floats
    units: Ints
    draws: Draws

    @classmethod
    def of(cls, population: Population, rows: Ints, draws: Draws, y: Floats | None = None) -> "Cohort":
        """Take the models at these rows of the population, with another target ``y`` [models] where given."""
        return cls(rows, (population.y if y is None else y)[rows], population.units[rows], draws)

    def at(self, inside: Ints) -> "Cohort":
        """Return the part of the cohort at positions [k]; itself where that is all of it."""
        if len(inside) == len(self.rows):
            return self
        return Cohort(self.rows[inside], self.y[inside], self.units[inside], self.draws)

    @cached_property
    def drawn(self) -> Drawn:
        """The models in every bootstrap draw."""
        return Drawn.of(self.units, self.draws.weights, self.draws.in_blocks)

    @cached_property
    def ties_y(self) -> Floats:
        """The target's ties in every draw: [draws]."""
        return ties(self.y, self.drawn)

    @cached_property
    def rank_y(self) -> Ints:
        """The target's dense rank: [n]."""
        return ranks_of(self.y)

    @cached_property
    def point_ties_y(self) -> float:
        """The target's ties in the table itself, as ``PairCounts`` counts them."""
        return float(point_counts(self.y, self.y, 0.0).ties_y[0])

    @cached_property
    def donors(self) -> Ints:
        """Whose target each model takes in each permutation: [permutations, n]."""
        return donations(
            self.units, n_permutations(len(self.y), self.draws.permutations), self.draws.stream("exchanges")
        )


class Sample:
    """One measure on its cohort: ``x`` [n] beside the cohort's ``y``."""

    def __init__(self, name: str, x: Floats, cohort: Cohort) -> None:
        self.name, self.x, self.cohort = name, x, cohort

    @property
    def n(self) -> int:
        """How many models have a value."""
        return len(self.x)

    @cached_property
    def flaw(self) -> str:
        """Say why no rank correlation exists, or return an empty string."""
        return flaw(self.x, self.cohort.y)

    def missing(self, statistic: str, reason: str, axis: str = "", level: str = "") -> "Estimate":
        """Return the row of a statistic over the whole sample that has no value, with the reason."""
        return Estimate(statistic, axis, level, self.n, n_pairs(self.n), NAN, reason=reason)

    @cached_property
    def point(self) -> PairCounts:
        """The pairs of the table itself: one entry."""
        concordance = float(concordance_sums(self.x[None], self.cohort.rank_y[None])[0, 0])
        return point_counts(self.x, self.cohort.y, concordance, self.cohort.point_ties_y)

    @cached_property
    def concordance(self) -> float:
        """Concordant less discordant ordered pairs of the table itself."""
        return float(self.point.concordance[0])

    @cached_property
    def ties_x(self) -> Floats:
        """The measure's ties in every bootstrap draw: [draws]."""
        return ties(self.x, self.cohort.drawn)


def flaw(x: Floats, y: Floats) -> str:
    """Say why no rank correlation of x [n] and y [n] exists, or return an empty string.

    >>> flaw(np.array([1.0, 1.0]), np.array([0.1, 0.2]))
    'the measure is constant'
    """
    if len(x) < 2:
        return f"{len(x)} model{'' if len(x) == 1 else 's'} with a value"
    if np.all(x == x[0]):
        return "the measure is constant"
    return "the target is constant" if np.all(y == y[0]) else ""


def n_pairs(n: int) -> int:
    """Return the number of unordered pairs of n models.

    >>> n_pairs(48)
    1128
    """
    return n * (n - 1) // 2
