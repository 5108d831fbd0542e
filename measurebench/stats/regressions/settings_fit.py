"""Predicts the target from the training settings alone, on models that the fit has not seen."""

import itertools
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from measurebench.stats.population.population import Population
from measurebench.stats.regressions.ridge import NEARLY, TARGET, Basis, Columns, Ridge
from measurebench.stats.resampling.draws import Floats, Ints

__all__ = ["MAX_PAIRS", "TERMS", "Beside", "Design", "Designs", "Split", "curves", "folds"]

MAX_PAIRS = 400
"""Columns for pairs of settings; those with the fewest levels come first, and what exceeds this is left out."""

TERMS = 3
"""A measure enters as a line, or with its square and cube besides: a curve."""

# Bytes of fits that are kept for the controls, of which the same models are held out as of the measures.
_KEPT = 2**27

Split = tuple[Ints, Ints]
"""The models to fit on and the models to predict: row numbers [train], [test]."""


@dataclass(frozen=True)
class Design:
    """The settings of n models as numbers: one column for each level, and one for each pair of levels.

    ``mains`` [n, p] are fitted by least squares, ``pairs`` [n, q] by ridge regression.
    """

    mains: Floats
    pairs: Floats
    _known: "dict[bytes, Basis]" = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, population: Population, rows: Ints) -> "Design":
        """Take the settings of the models at these rows."""
        coded = [np.unique(names, return_inverse=True)[1][rows] for names in population.levels.values()]
        single = [_one_hot(levels) for levels in coded]
        pairs, width = [np.empty((len(rows), 0))], 0
        by_size = sorted(itertools.combinations(single, 2), key=lambda two: two[0].shape[1] * two[1].shape[1])
        for a, b in by_size:
            both = (a[:, :, None] * b[:, None, :]).reshape(len(rows), -1)
            both = both[:, both.any(axis=0)]
            width += both.shape[1]
            if width > MAX_PAIRS:
                break
            pairs.append(both)
        mains = np.concatenate(single, axis=1) if single else np.empty((len(rows), 0))
        return cls(mains, _rotated(np.concatenate(pairs, axis=1)))

    @cached_property
    def _mains(self) -> Floats:
        return _rotated(self.mains - self.mains.mean(axis=0))

    @cached_property
    def whole(self) -> "Columns":
        """The settings in as few columns as they have rank."""
        return Columns.of(self._mains, self.pairs - self.pairs.mean(axis=0))

    @cached_property
    def apart(self) -> "Columns":
        """The same without what the mains of all models explain of the pairs: fewer columns yet.

        Where the mains of the models fitted on have full rank, every fit and prediction is the same.
        """
        pairs = self.whole.pairs
        explained = self._mains @ np.linalg.lstsq(self._mains, pairs, rcond=None)[0]
        return Columns.of(self._mains, _rotated(pairs - explained))

    def basis(self, y: Floats, train: Ints) -> "Basis":
        """Return what all fits of y [n] on the models ``train`` share, found once while memory is left for it."""
        key = train.tobytes() + y.tobytes()
        if (known := self._known.get(key)) is not None:
            return known
        found = Basis.of(self, y, train)
        if (1 + len(self._known)) * found.size <= _KEPT:
            self._known[key] = found
        return found


class Designs:
    """The designs of one population; that of all its models is made once for the measures and the controls."""

    def __init__(self, population: Population) -> None:
        self._population = population

    @cached_property
    def _of_all(self) -> Design:
        return Design.of(self._population, np.arange(len(self._population.y)))

    def of(self, rows: Ints) -> Design:
        """Return the design of the models at these rows, which are in order."""
        return self._of_all if len(rows) == len(self._population.y) else Design.of(self._population, rows)


def _rotated(columns: Floats) -> Floats:
    """Return as many columns as these have rank, with the same inner products of all models: [n, rank].

    The indicators of levels and of their pairs overlap: a third to two thirds of the columns are sums of others. Ridge
    regression, and least squares of least norm, depend on the inner products alone, so that nothing changes but the
    time.
    """
    values, vectors = np.linalg.eigh(columns.T @ columns)
    return np.asarray(columns @ vectors[:, values > 1e-11 * max(1e-300, float(values.max(initial=0.0)))])


def _one_hot(levels: Ints) -> Floats:
    return np.asarray(levels[:, None] == np.unique(levels)[None, :], dtype=np.float64)


@dataclass(frozen=True)
class Beside:
    """Squared errors of the models that were predicted, in the order of ``test``.

    ``alone`` [test] is that of the settings, ``beside`` [test, measures] that of the settings and one measure,
    ``fitted`` [test] the prediction of the settings alone, less the mean of the models fitted on.
    """

    alone: Floats
    beside: Floats
    fitted: Floats

    @classmethod
    def predicted(cls, design: Design, y: Floats, x: Floats, split: Split, repeats: float = 1.0) -> "Beside":
        """Fit y [n] on the settings, and on the settings and each measure; predict the test models.

        ``x`` [n, TERMS, measures] are the terms of ``curves``, ``repeats`` the models of a unit, which tell little more
        than one.

        The effects of single settings are not penalised, so that a measure that only restates them adds nothing.
        Their pairs are shrunk by generalised cross-validation (Golub, Heath and Wahba 1979): for the settings alone as
        is best for the target, and beside a measure as is best for the target or for the measure, whichever shrinks
        less. A measure that restates pairs of settings is then removed as well (double selection, Belloni,
        Chernozhukov and Hansen 2014). The square and the cube of a first fit stand beside the effects of the settings,
        since a gap that levels off is no sum of effects: a monotone function of that sum would seem to add to it.

        For the same reason a measure may enter as a curve: the association that is judged is one of ranks, which no
        monotone function of the measure changes. It does where the models fitted on say so, again by generalised
        cross-validation.

        What the settings predict, of the target and of the measure, lies no further out than the models fitted on: a
        combination of levels that these lack would otherwise be predicted from next to nothing.
        """
        train, test = split
        basis, n_measures = design.basis(y, train), x.shape[2]
        both = np.column_stack([y, x.reshape(len(y), -1)])
        center = basis.here @ both / len(train)
        ridge = Ridge.of(basis, (both - center) * basis.here[:, None])
        freedom = len(train) - 1 - basis.span.rank
        best = ridge.best(freedom)
        best[~ridge.is_left] = best[0]  # what is gone has no say in how the pairs are shrunk
        settings, known, truth = basis.at(test), both[train] - center, both[test] - center
        low, high = known.min(axis=0), known.max(axis=0)

        def by_settings(k: int, columns: Ints) -> Floats:
            return np.clip(settings @ ridge.coefficients(k, columns), low[columns], high[columns])

        fitted = by_settings(int(best[0]), TARGET)[:, 0]
        errors, of_terms = np.empty((2, n_measures)), np.empty((2, len(test), n_measures))
        for which, n_terms in enumerate((1, TERMS)):
            columns = 1 + np.arange(n_terms * n_measures).reshape(n_terms, n_measures)
            weaker = np.minimum(best[columns].min(axis=0), best[0])
            for k in np.unique(weaker):
                mine = columns[:, weaker == k]
                slopes = ridge.slopes(int(k), mine)
                places = np.concatenate([TARGET, mine.ravel()])
                missed = truth[:, places] - by_settings(int(k), places)
                by_measure = (missed[:, 1:].reshape(len(test), *mine.shape) * slopes).sum(axis=1)
                # Where the settings determine a measure, the prediction is that of the settings alone.
                alone = np.where(slopes.any(axis=0), missed[:, :1], (truth[:, 0] - fitted)[:, None])
                of_terms[which][:, weaker == k] = (alone - by_measure) ** 2
                errors[which][weaker == k] = ridge.errors_beside(int(k), mine, slopes, freedom, repeats)
        beside = np.where(errors[1] < errors[0], of_terms[1], of_terms[0])
        return cls((truth[:, 0] - fitted) ** 2, beside, fitted)


def curves(x: Floats) -> Floats:
    """Return columns x [n, measures], their squares and their cubes: [n, TERMS, measures].

    Each has mean 0 and variance 1 and is orthogonal to those before it; zero where these leave nothing of it, as of the
    square of a column with two values.
    """
    terms, power = np.empty((len(x), TERMS, x.shape[1])), np.ones_like(x)
    for k in range(TERMS):
        power = power * x
        column = power - power.mean(axis=0)
        size = np.sqrt((column**2).mean(axis=0))
        for _ in range(2):  # once leaves the rounding of what was taken away
            for before in range(k):
                column = column - terms[:, before] * (terms[:, before] * column).mean(axis=0)
        rest = np.sqrt((column**2).mean(axis=0))
        there = rest > NEARLY * size
        terms[:, k] = np.where(there, column / np.where(there, rest, 1.0), 0.0)
    return terms


def folds(units: Ints, n_folds: int, seed: int) -> list[Split]:
    """Split n models into folds at random, the models of one unit never apart; ``units`` [n]."""
    present, local = np.unique(units, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(present)) % min(n_folds, len(present))
    return [(np.flatnonzero(fold[local] != k), np.flatnonzero(fold[local] == k)) for k in range(int(fold.max()) + 1)]
