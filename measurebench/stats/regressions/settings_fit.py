"""Predicts the target from the training settings alone, on models that the fit has not seen."""

import itertools
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from measurebench.stats.population.population import Population
from measurebench.stats.resampling.draws import Floats, Ints

__all__ = ["MAX_PAIRS", "Beside", "Design", "Designs", "Split", "folds"]

MAX_PAIRS = 400
"""Columns for pairs of settings; those with the fewest levels come first, and what exceeds this is left out."""

# From nearly none to as good as no pair of settings at all, in units of the largest eigenvalue.
_PENALTIES = np.geomspace(1e-6, 1e3, 28)

# So many models for each column of the settings allow the square and the cube of a first fit besides.
_ENOUGH = 3

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
    _known: "dict[bytes, _Basis]" = field(default_factory=dict, repr=False, compare=False)

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

    def basis(self, y: Floats, train: Ints) -> "_Basis":
        """Return what all fits of y [n] on the models ``train`` share, found once while memory is left for it."""
        key = train.tobytes() + y.tobytes()
        if (known := self._known.get(key)) is not None:
            return known
        found = _Basis.of(self, y, train)
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


def _rotated(pairs: Floats) -> Floats:
    """Return as many columns as the pairs have rank, with the same inner products of all models: [n, rank].

    The indicators of pairs of levels overlap: a third to two thirds of the columns are sums of others. Ridge regression
    depends on the inner products alone, so that nothing changes but the time.
    """
    values, vectors = np.linalg.eigh(pairs.T @ pairs)
    return np.asarray(pairs @ vectors[:, values > 1e-11 * max(1e-300, float(values.max(initial=0.0)))])


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
    def predicted(cls, design: Design, y: Floats, x: Floats, split: Split) -> "Beside":
        """Fit y [n] on the settings, and on the settings and each column of x [n, measures]; predict the test models.

        The effects of single settings are not penalised, so that a measure that only restates them adds nothing.
        Their pairs are shrunk by generalised cross-validation (Golub, Heath and Wahba 1979): for the settings alone as
        is best for the target, and beside a measure as is best for the target or for the measure, whichever shrinks
        less. A measure that restates pairs of settings is then removed as well (double selection, Belloni,
        Chernozhukov and Hansen 2014). The square and the cube of a first fit stand beside the effects of the settings,
        since a gap that levels off is no sum of effects: a monotone function of that sum would seem to add to it.
        """
        train, test = split
        both = np.column_stack([y, x])
        center = both[train].mean(axis=0)
        basis = design.basis(y, train)
        mains_test, pairs_test = basis.at(design, test)
        effects = basis.inverse @ (both[train] - center)
        ridge = _Ridge.of(basis.pairs, basis.spectrum, both[train] - center - basis.mains @ effects)
        best = ridge.best(len(train) - 1 - basis.n_mains)
        fitted = mains_test @ effects
        alone = fitted[:, 0] + pairs_test @ ridge.coefficients(int(best[0]))[:, 0]
        beside = np.empty((len(test), x.shape[1]))
        truth = both[test] - center
        for k in np.unique(np.minimum(best[1:], best[0])):
            mine = np.flatnonzero(np.minimum(best[1:], best[0]) == k)
            smooth = fitted + pairs_test @ ridge.coefficients(int(k))
            slope = ridge.slopes(int(k), mine + 1)
            missed = truth[:, 1:][:, mine] - smooth[:, 1:][:, mine]
            beside[:, mine] = (truth[:, :1] - smooth[:, :1] - slope * missed) ** 2
        return cls((truth[:, 0] - alone) ** 2, beside, alone)


@dataclass(frozen=True)
class _First:
    """A first fit on the settings, whose square and cube stand beside their effects.

    ``onto`` [p, q] takes the effects of the settings out of the pairs; ``mains`` [p] and ``pairs`` [q] are the
    coefficients, ``scale`` the largest fitted value and ``middle`` [2] the mean square and cube of the rest.
    """

    onto: Floats
    mains: Floats
    pairs: Floats
    scale: float
    middle: Floats

    def bent(self, mains: Floats, pairs: Floats) -> Floats:
        """Return the square and the cube for other models, no further out than those fitted on: [models, 2]."""
        first = mains @ self.mains + (pairs - mains @ self.onto) @ self.pairs
        first = np.clip(first / self.scale, -1, 1)
        return np.asarray(np.stack([first**2, first**3], axis=1) - self.middle)


@dataclass(frozen=True)
class _Basis:
    """All of a fit that depends on the settings, the target and the models fitted on: the same beside every measure.

    ``mains`` [train, p] are the effects of the settings and, with enough models, the square and cube of a first fit;
    ``inverse`` [p, train] is their generalised inverse and ``n_mains`` their rank. ``pairs`` [train, q] are the pairs
    of settings without what a constant and the mains explain of them (``onto`` [p, q]), ``spectrum`` the eigenvalues
    and eigenvectors of their inner products. ``middles`` are the means of settings and of pairs over these models.
    """

    middles: tuple[Floats, Floats]
    first: _First | None
    mains: Floats
    inverse: Floats
    n_mains: int
    onto: Floats
    pairs: Floats
    spectrum: tuple[Floats, Floats]

    @classmethod
    def of(cls, design: Design, y: Floats, train: Ints) -> "_Basis":
        """Fit the settings on the models ``train``; y: [n]."""
        mains, pairs = design.mains[train], design.pairs[train]
        middles = mains.mean(axis=0), pairs.mean(axis=0)
        mains, pairs = mains - middles[0], pairs - middles[1]
        first, bent = _first_fit(mains, pairs, y[train] - float(y[train].mean()))
        if first is not None:
            mains = np.column_stack([mains, bent])
        inverse = np.asarray(np.linalg.pinv(mains, rcond=1e-9), dtype=np.float64)
        onto = inverse @ pairs
        left = pairs - mains @ onto
        rank = round(float(np.trace(inverse @ mains)))
        return cls(middles, first, mains, inverse, rank, onto, left, _spectrum(left))

    def at(self, design: Design, test: Ints) -> tuple[Floats, Floats]:
        """Return ``mains`` and ``pairs`` of other models: [test, p], [test, q]."""
        mains, pairs = design.mains[test] - self.middles[0], design.pairs[test] - self.middles[1]
        if self.first is not None:
            mains = np.column_stack([mains, self.first.bent(mains, pairs)])
        return mains, pairs - mains @ self.onto

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return self.mains.nbytes + self.inverse.nbytes + self.pairs.nbytes


def _first_fit(mains: Floats, pairs: Floats, left: Floats) -> tuple[_First | None, Floats]:
    """Fit the target, less its mean, on settings and pairs; return the fit, and its square and cube [train, 2].

    None, and no columns, where the models are too few for two more, or the settings say nothing.
    """
    inverse = np.linalg.pinv(mains, rcond=1e-9)
    effects, onto = inverse @ left, inverse @ pairs
    beside = pairs - mains @ onto
    ridge = _Ridge.of(beside, _spectrum(beside), (left - mains @ effects)[:, None])
    of_pairs = ridge.coefficients(int(ridge.best(len(left) - 1 - mains.shape[1])[0]))[:, 0]
    first = mains @ effects + beside @ of_pairs
    scale = float(np.abs(first).max())
    if len(left) < _ENOUGH * mains.shape[1] or not scale > 0:
        return None, np.empty((len(left), 0))
    first = first / scale
    bent = np.stack([first**2, first**3], axis=1)
    middle = bent.mean(axis=0)
    return _First(onto, effects, of_pairs, scale, middle), bent - middle


def _spectrum(pairs: Floats) -> tuple[Floats, Floats]:
    """Return the eigenvalues above rounding, and the eigenvectors, of the inner products of pairs [train, q]."""
    values, vectors = np.linalg.eigh(pairs.T @ pairs)
    kept = values > 1e-9 * max(1e-300, float(values.max(initial=0.0)))
    return values[kept], vectors[:, kept]


@dataclass(frozen=True)
class _Ridge:
    """Ridge regressions of every column of ``left`` [train, 1 + measures] on the pairs, for every penalty at once."""

    left: Floats
    vectors: Floats
    values: Floats
    onto: Floats

    @classmethod
    def of(cls, pairs: Floats, spectrum: tuple[Floats, Floats], left: Floats) -> "_Ridge":
        """Take the pairs [train, q] with the ``_spectrum`` of their inner products."""
        values, vectors = spectrum
        return cls(left, vectors, values, vectors.T @ (pairs.T @ left))

    @property
    def _penalties(self) -> Floats:
        return np.asarray(_PENALTIES * self.values.max(initial=1.0))

    def _penalty(self, k: int) -> float:
        return float(self._penalties[k])

    def coefficients(self, k: int) -> Floats:
        """Return the coefficients of the pairs under penalty k: [pairs, 1 + measures]."""
        return np.asarray(self.vectors @ (self.onto / (self.values + self._penalty(k))[:, None]))

    def best(self, freedom: int) -> Ints:
        """Return the number of the penalty with the least generalised cross-validation error: [1 + measures]."""
        shrunk = self.values + self._penalties[:, None]
        share = self.values / shrunk
        # |(I - H) v|^2 with H = U d U', d = s / (s + penalty): |v|^2 - sum (2 d - d^2) (u'v)^2.
        rest = (self.left**2).sum(axis=0) - ((2 - share) / shrunk) @ self.onto**2
        spent = freedom - share.sum(axis=1)[:, None]
        errors = np.where(spent > 1, rest / np.where(spent > 1, spent, 1.0) ** 2, np.inf)
        return np.asarray(np.argmin(errors, axis=0), dtype=np.int64)

    def slopes(self, k: int, columns: Ints) -> Floats:
        """Return the slope of the target on each measure beside the settings: x'(I-H)y / x'(I-H)x; 0 where x is gone.

        The same as one ridge regression on the pairs and the measure, the measure not penalised (Frisch, Waugh and
        Lovell).
        """
        weight = 1 / (self.values + self._penalty(k))
        own, of_y = self.onto[:, columns], self.onto[:, :1]
        x, y = self.left[:, columns], self.left[:, :1]
        above = (x * y).sum(axis=0) - (own * of_y * weight[:, None]).sum(axis=0)
        below = (x * x).sum(axis=0) - (own * own * weight[:, None]).sum(axis=0)
        there = below > 1e-9 * len(x)  # measures have unit variance: the settings determine what is left below this
        return np.where(there, above / np.where(there, below, 1.0), 0.0)


def folds(units: Ints, n_folds: int, seed: int) -> list[Split]:
    """Split n models into folds at random, the models of one unit never apart; ``units`` [n]."""
    present, local = np.unique(units, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(present)) % min(n_folds, len(present))
    return [(np.flatnonzero(fold[local] != k), np.flatnonzero(fold[local] == k)) for k in range(int(fold.max()) + 1)]
