"""Ridge regression on pairs of settings, whose single effects are fitted by least squares, at every penalty at once."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from measurebench.stats.resampling.draws import Bools, Floats, Ints

__all__ = ["NEARLY", "TARGET", "Basis", "Columns", "Ridge", "Settings"]

# From nearly none to as good as no pair of settings at all, in units of the largest eigenvalue.
_PENALTIES = np.geomspace(1e-6, 1e3, 28)

# So many models for each column of the settings allow the square and the cube of a first fit besides.
_ENOUGH = 3

_NOTHING = 1e-10  # of the largest eigenvalue: rounding makes about 1e-16 of one that is 0, and true ones are far larger

NEARLY = 1e-6
"""Of the size of a column: rounding leaves about 1e-16 of one that depends on others, and of true ones far more."""

_GONE = 1e-9  # of the variance of a measure: the settings determine what is left below this

TARGET = np.array([0])
"""The place of the target among the columns of a ``Ridge``, of which measures are the others."""


class Settings(Protocol):
    """The settings of n models as a ``Basis`` reads them."""

    @property
    def mains(self) -> Floats:
        """One column for each level: [n, levels]."""
        ...

    @property
    def whole(self) -> "Columns":
        """The settings in as few columns as they have rank."""
        ...

    @property
    def apart(self) -> "Columns":
        """The same without what the mains of all models explain of the pairs."""
        ...


@dataclass(frozen=True)
class Columns:
    """The settings of all models, less their means: ``both`` [n, mains + pairs], and their inner products ``inner``."""

    n_mains: int
    both: Floats
    inner: Floats

    @classmethod
    def of(cls, mains: Floats, pairs: Floats) -> "Columns":
        """Join columns less their means: ``mains`` [n, mains], ``pairs`` [n, pairs]."""
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
        if not np.linalg.svd(upper, compute_uv=False)[-1] > NEARLY * float(np.linalg.norm(columns)):
            return _Span.of(np.column_stack([columns, more]))
        own = np.linalg.inv(upper)
        solve = np.zeros((len(self.solve) + len(own), self.rank + len(own)))
        solve[: len(self.solve), : self.rank] = self.solve
        solve[: len(self.solve), self.rank :] = -self.solve @ ((along + again) @ own)
        solve[len(self.solve) :, self.rank :] = own
        return _Span(np.concatenate([self.axes, axes], axis=1), solve)


@dataclass(frozen=True)
class Basis:
    """All of a fit that depends on the settings, the target and the models fitted on: the same beside every measure.

    ``here`` [n] is 1 for the models fitted on, else 0. ``span`` is that of the effects of the settings and, with enough
    models, of ``bent`` [n, 2], the square and cube of a first fit. ``along`` [rank, q] are the inner products of its
    axes with the pairs of settings, ``spectrum`` the eigenvalues and eigenvectors of the inner products of what is left
    of the pairs. ``mean`` is that of the columns over these models.
    """

    columns: Columns
    here: Floats
    mean: Floats
    span: _Span
    bent: Floats
    along: Floats
    spectrum: tuple[Floats, Floats]

    @classmethod
    def of(cls, design: Settings, y: Floats, train: Ints) -> "Basis":
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
        ridge = Ridge.of(self, ((y - y[train].mean()) * self.here)[:, None])
        best = ridge.best(len(train) - 1 - n_levels)
        coefficients = ridge.coefficients(int(best[0]), TARGET)[:, 0]
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
class Ridge:
    """Ridge regressions on the pairs, for every penalty at once, of what the span of a basis leaves of columns.

    ``left`` [n, columns] is that, ``effects`` the coefficients of what is gone, ``onto`` [eigenvalues, columns] the
    inner products of what is left with the pairs, in the directions of their eigenvectors.
    """

    basis: Basis
    left: Floats
    effects: Floats
    onto: Floats

    @classmethod
    def of(cls, basis: Basis, both: Floats) -> "Ridge":
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
