"""Predicts the target from the training settings alone, on models that the fit has not seen."""

import itertools
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from measurebench.stats.population.population import Population
from measurebench.stats.resampling.draws import Bools, Floats, Ints

__all__ = ["MAX_PAIRS", "TERMS", "Beside", "Design", "Designs", "Split", "curves", "folds"]

MAX_PAIRS = 400
"""Columns for pairs of settings; those with the fewest levels come first, and what exceeds this is left out."""

# From nearly none to as good as no pair of settings at all, in units of the largest eigenvalue.
_PENALTIES = np.geomspace(1e-6, 1e3, 28)

TERMS = 3
"""A measure enters as a line, or with its square and cube besides: a curve."""

# So many models for each column of the settings allow the square and the cube of a first fit besides.
_ENOUGH = 3

# Rounding makes about 1e-16 of an eigenvalue 0, or 1e-16 of a column that depends on others; true ones are far larger.
_NOTHING, _NEARLY = 1e-10, 1e-6

# Bytes of fits that are kept for the controls, of which the same models are held out as of the measures.
_KEPT = 2**27

_GONE = 1e-9  # of the variance of a measure: the settings determine what is left below this

_TARGET = np.array([0])  # its place among the columns

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

    @cached_property
    def _mains(self) -> Floats:
        return _rotated(self.mains - self.mains.mean(axis=0))

    @cached_property
    def whole(self) -> "_Columns":
        """The settings in as few columns as they have rank."""
        return _Columns.of(self._mains, self.pairs - self.pairs.mean(axis=0))

    @cached_property
    def apart(self) -> "_Columns":
        """The same without what the mains of all models explain of the pairs: fewer columns yet.

        Where the mains of the models fitted on have full rank, every fit and prediction is the same.
        """
        pairs = self.whole.pairs
        explained = self._mains @ np.linalg.lstsq(self._mains, pairs, rcond=None)[0]
        return _Columns.of(self._mains, _rotated(pairs - explained))

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
        ridge = _Ridge.of(basis, (both - center) * basis.here[:, None])
        freedom = len(train) - 1 - basis.span.rank
        best = ridge.best(freedom)
        best[~ridge.is_left] = best[0]  # what is gone has no say in how the pairs are shrunk
        settings, known, truth = basis.at(test), both[train] - center, both[test] - center
        low, high = known.min(axis=0), known.max(axis=0)

        def by_settings(k: int, columns: Ints) -> Floats:
            return np.clip(settings @ ridge.coefficients(k, columns), low[columns], high[columns])

        fitted = by_settings(int(best[0]), _TARGET)[:, 0]
        errors, of_terms = np.empty((2, n_measures)), np.empty((2, len(test), n_measures))
        for which, n_terms in enumerate((1, TERMS)):
            columns = 1 + np.arange(n_terms * n_measures).reshape(n_terms, n_measures)
            weaker = np.minimum(best[columns].min(axis=0), best[0])
            for k in np.unique(weaker):
                mine = columns[:, weaker == k]
                slopes = ridge.slopes(int(k), mine)
                places = np.concatenate([_TARGET, mine.ravel()])
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
        there = rest > _NEARLY * size
        terms[:, k] = np.where(there, column / np.where(there, rest, 1.0), 0.0)
    return terms


@dataclass(frozen=True)
class _Columns:
    """The settings of all models, less their means: ``both`` [n, mains + pairs], and their inner products ``inner``."""

    n_mains: int
    both: Floats
    inner: Floats

    @classmethod
    def of(cls, mains: Floats, pairs: Floats) -> "_Columns":
        both = np.column_stack([mains, pairs])
        return cls(mains.shape[1], both, both.T @ both)

    @property
    def mains(self) -> Floats:
        """The effects of single settings: [n, mains]."""
        return self.both[:, : self.n_mains]

    @property
    def pairs(self) -> Floats:
        """Those of pairs of settings: [n, pairs]."""
        return self.both[:, self.n_mains :]

    def among(self, train: Ints, here: Floats) -> tuple[Floats, Floats]:
        """Return the means of the columns over the models ``train``, and the inner products about these means.

        ``here`` [n] is 1 for these models, else 0. Of many models the others are summed, and taken from the whole.
        """
        many = 2 * len(train) > len(here)
        part = self.both[here == 0] if many else self.both[train]
        inner, total = part.T @ part, part.sum(axis=0)
        if many:
            inner, total = self.inner - inner, -total
        mean = total / len(train)
        return mean, inner - len(train) * np.outer(mean, mean)


@dataclass(frozen=True)
class _Span:
    """What columns span on the models fitted on: ``axes`` [n, rank] orthonormal there, 0 for all other models.

    ``solve`` [columns, rank] makes the coefficients of least squares, those of least norm, of inner products with the
    axes.
    """

    axes: Floats
    solve: Floats

    @property
    def rank(self) -> int:
        """How many of the columns are independent."""
        return int(self.axes.shape[1])

    @classmethod
    def of(cls, columns: Floats) -> "_Span":
        """Take columns [n, p] that are 0 outside of the models fitted on."""
        axes, sizes, right = np.linalg.svd(columns, full_matrices=False)
        kept = sizes > 1e-9 * sizes.max(initial=0.0)
        return cls(axes[:, kept], right[kept].T / sizes[kept])

    @classmethod
    def of_inner(cls, columns: Floats, inner: Floats) -> "_Span":
        """Take columns of which the inner products are known, all of them far above rounding or 0."""
        values, vectors = np.linalg.eigh(inner)
        kept = values > _NOTHING * values.max(initial=0.0)
        solve = vectors[:, kept] / np.sqrt(values[kept])
        return cls(columns @ solve, solve)

    def beside(self, columns: Floats, more: Floats) -> "_Span":
        """Return the span of these columns and of more [n, few] beside them."""
        along = self.axes.T @ more
        rest = more - self.axes @ along
        again = self.axes.T @ rest  # since once leaves the rounding of what was taken away
        axes, upper = np.linalg.qr(rest - self.axes @ again)
        if not np.linalg.svd(upper, compute_uv=False)[-1] > _NEARLY * float(np.linalg.norm(columns)):
            return _Span.of(np.column_stack([columns, more]))
        own = np.linalg.inv(upper)
        solve = np.zeros((len(self.solve) + len(own), self.rank + len(own)))
        solve[: len(self.solve), : self.rank] = self.solve
        solve[: len(self.solve), self.rank :] = -self.solve @ ((along + again) @ own)
        solve[len(self.solve) :, self.rank :] = own
        return _Span(np.concatenate([self.axes, axes], axis=1), solve)


@dataclass(frozen=True)
class _Basis:
    """All of a fit that depends on the settings, the target and the models fitted on: the same beside every measure.

    ``here`` [n] is 1 for the models fitted on, else 0. ``span`` is that of the effects of the settings and, with enough
    models, of ``bent`` [n, 2], the square and cube of a first fit. ``along`` [rank, q] are the inner products of its
    axes with the pairs of settings, ``spectrum`` the eigenvalues and eigenvectors of the inner products of what is left
    of the pairs. ``mean`` is that of the columns over these models.
    """

    columns: _Columns
    here: Floats
    mean: Floats
    span: _Span
    bent: Floats
    along: Floats
    spectrum: tuple[Floats, Floats]

    @classmethod
    def of(cls, design: Design, y: Floats, train: Ints) -> "_Basis":
        """Fit the settings on the models ``train``; y: [n]."""
        here = np.zeros(len(y))
        here[train] = 1.0
        columns = design.apart
        mean, inner = columns.among(train, here)
        n_mains = columns.n_mains
        mains = (columns.mains - mean[:n_mains]) * here[:, None]
        span = _Span.of_inner(mains, inner[:n_mains, :n_mains])
        if span.rank < n_mains:
            columns = design.whole
            mean, inner = columns.among(train, here)
        along, pairs = span.solve.T @ inner[:n_mains, n_mains:], inner[n_mains:, n_mains:]
        none = np.empty((len(y), 0))
        first = cls(columns, here, mean, span, none, along, _spectrum(pairs - along.T @ along))
        bent = first._bent(y, train, design.mains.shape[1])
        if bent is None:
            return first
        span = span.beside(mains, bent * here[:, None])
        along = span.axes.T @ columns.pairs
        return cls(columns, here, mean, span, bent, along, _spectrum(pairs - along.T @ along))

    def _bent(self, y: Floats, train: Ints, n_levels: int) -> Floats | None:
        """Return the square and the cube of a fit of y on settings and pairs, less their means: [n, 2].

        Other models lie no further out than those fitted on. None where the models are too few for two more columns,
        or the settings say nothing.
        """
        if len(train) < _ENOUGH * n_levels:
            return None
        ridge = _Ridge.of(self, ((y - y[train].mean()) * self.here)[:, None])
        best = ridge.best(len(train) - 1 - n_levels)
        coefficients = ridge.coefficients(int(best[0]), _TARGET)[:, 0]
        first = self.columns.both @ coefficients - self.mean @ coefficients
        scale = float(np.abs(first[train]).max())
        if not scale > 0:
            return None
        first = np.clip(first / scale, -1, 1)
        bent = np.stack([first * first, first * first * first], axis=1)
        return np.asarray(bent - self.here @ bent / len(train))

    def at(self, models: Ints) -> Floats:
        """Return the columns of models, less their means over those fitted on: [models, mains + pairs + bent]."""
        return np.column_stack([self.columns.both[models] - self.mean, self.bent[models]])

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return self.span.axes.nbytes + self.bent.nbytes + self.along.nbytes + self.spectrum[1].nbytes


def _spectrum(inner: Floats) -> tuple[Floats, Floats]:
    """Return the eigenvalues above rounding, and the eigenvectors, of inner products [q, q]."""
    values, vectors = np.linalg.eigh(inner)
    kept = values > 1e-9 * max(1e-300, float(values.max(initial=0.0)))
    return values[kept], vectors[:, kept]


@dataclass(frozen=True)
class _Ridge:
    """Ridge regressions on the pairs, for every penalty at once, of what the span of a basis leaves of columns.

    ``left`` [n, columns] is that, ``effects`` the coefficients of what is gone, ``onto`` [eigenvalues, columns] the
    inner products of what is left with the pairs, in the directions of their eigenvectors.
    """

    basis: _Basis
    left: Floats
    effects: Floats
    onto: Floats

    @classmethod
    def of(cls, basis: _Basis, both: Floats) -> "_Ridge":
        """Take columns [n, columns] that are 0 outside of the models fitted on, less their means there."""
        along = basis.span.axes.T @ both
        left = both - basis.span.axes @ along
        return cls(basis, left, basis.span.solve @ along, basis.spectrum[1].T @ (basis.columns.pairs.T @ left))

    @cached_property
    def is_left(self) -> Bools:
        """Whether the span leaves anything of each column, which have unit variance: [columns]; always of the first."""
        left = (self.left**2).sum(axis=0) > _GONE * float(self.basis.here.sum())
        left[0] = True
        return np.asarray(left)

    @cached_property
    def _penalties(self) -> Floats:
        return np.asarray(_PENALTIES * self.basis.spectrum[0].max(initial=1.0))

    def _shrunk(self, k: int) -> Floats:
        """Return the eigenvalues under penalty k, [eigenvalues, 1]."""
        return np.asarray((self.basis.spectrum[0] + self._penalties[k])[:, None])

    def coefficients(self, k: int, columns: Ints) -> Floats:
        """Return the coefficients of mains, pairs and bent under penalty k: [mains + pairs + bent, columns]."""
        basis, n_mains = self.basis, self.basis.columns.n_mains
        pairs = basis.spectrum[1] @ (self.onto[:, columns] / self._shrunk(k))
        free = self.effects[:, columns] - basis.span.solve @ (basis.along @ pairs)
        return np.concatenate([free[:n_mains], pairs, free[n_mains:]])

    def best(self, freedom: int) -> Ints:
        """Return the number of the penalty with the least generalised cross-validation error: [columns]."""
        values = self.basis.spectrum[0]
        shrunk = values + self._penalties[:, None]
        share = values / shrunk
        # |(I - H) v|^2 with H = U d U', d = s / (s + penalty): |v|^2 - sum (2 d - d^2) (u'v)^2.
        rest = (self.left**2).sum(axis=0) - ((2 - share) / shrunk) @ self.onto**2
        spent = freedom - share.sum(axis=1)[:, None]
        errors = np.where(spent > 1, rest / np.where(spent > 1, spent, 1.0) ** 2, np.inf)
        return np.asarray(np.argmin(errors, axis=0), dtype=np.int64)

    @cached_property
    def _inner(self) -> Floats:
        """The inner products of what is left of all columns: [columns, columns]."""
        return self.left.T @ self.left

    def _products(self, weight: Floats, columns: Ints) -> tuple[Floats, Floats, float]:
        """Return inner products less ``weight`` [eigenvalues] times those with the pairs.

        Of the terms of each measure with each other, [measures, terms, terms], and with the target, [measures, terms],
        and of the target with itself; ``columns`` [terms, measures] are the places of the terms.
        """
        n_terms, n_measures = columns.shape
        flat = np.zeros(1 + columns.size, np.int64)
        flat[1:] = columns.T.ravel()
        onto = self.onto[:, flat]
        inner = self._inner[flat[:, None], flat] - onto.T @ (weight[:, None] * onto)
        places = 1 + np.arange(n_measures * n_terms).reshape(n_measures, n_terms)
        return inner[places[:, :, None], places[:, None, :]], inner[places, 0], float(inner[0, 0])

    def slopes(self, k: int, columns: Ints) -> Floats:
        """Return the slopes of the target on the terms of each measure beside the settings: [terms, measures].

        ``columns`` [terms, measures] are their places. The slopes are (X'(I-H)X)^-1 X'(I-H)y, the same as of one ridge
        regression on the pairs and the terms, which are not penalised (Frisch, Waugh and Lovell); 0 along what the
        settings determine.
        """
        inner, above, _ = self._products(1 / self._shrunk(k)[:, 0], columns)
        values, vectors = np.linalg.eigh(inner)
        there = values > _GONE * float(self.basis.here.sum())
        along = (above[:, None, :] @ vectors)[:, 0] * there / np.where(there, values, 1.0)
        return np.asarray((vectors @ along[:, :, None])[:, :, 0].T)

    def errors_beside(self, k: int, columns: Ints, slopes: Floats, freedom: int, repeats: float) -> Floats:
        """Return the generalised cross-validation error of the target beside each measure: [measures].

        A term costs as many degrees of freedom as a unit has models (``repeats``).
        """
        values, shrunk = self.basis.spectrum[0], self._shrunk(k)[:, 0]
        share = values / shrunk
        inner, of_y, y = self._products((2 - share) / shrunk, columns)
        by_measure = (slopes.T[:, None, :] @ (inner @ slopes.T[:, :, None]))[:, 0, 0]
        rest = y - 2 * (of_y * slopes.T).sum(axis=1) + by_measure
        spent = freedom - share.sum() - repeats * len(columns)
        return np.asarray(rest / spent**2 if spent > 1 else np.full(len(rest), np.inf))


def folds(units: Ints, n_folds: int, seed: int) -> list[Split]:
    """Split n models into folds at random, the models of one unit never apart; ``units`` [n]."""
    present, local = np.unique(units, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(present)) % min(n_folds, len(present))
    return [(np.flatnonzero(fold[local] != k), np.flatnonzero(fold[local] == k)) for k in range(int(fold.max()) + 1)]
