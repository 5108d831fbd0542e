"""The lasso by coordinate descent on the inner products of the columns."""

from dataclasses import dataclass

import numpy as np

from measurebench.stats.regressions.coordinate_descent import descend
from measurebench.stats.resampling.draws import Floats, Ints

__all__ = ["Chosen", "chosen", "lasso"]

_PENALTIES, _RANGE = 30, 1e-3  # a path from the penalty that selects nothing down to a thousandth of it
_ROUNDS, _GAP = 5000, 1e-4  # of descent at most; the duality gap, in parts of the target's square, that ends it


@dataclass(frozen=True)
class _Products:
    """Centred inner products: ``gram`` [p, p] of the columns, ``xy`` [p] with the target, ``yy`` of the target."""

    gram: Floats
    xy: Floats
    yy: float
    n: int
    x_mean: Floats
    y_mean: float

    @classmethod
    def of(cls, x: Floats, y: Floats, weights: Floats | None = None) -> "_Products":
        """Take columns x [n, p] and a target y [n], each model counted ``weights`` [n] times."""
        n = len(y)
        if weights is not None:
            weights = weights * (n / weights.sum())
        x_mean, y_mean = np.average(x, axis=0, weights=weights), float(np.average(y, weights=weights))
        x, y = x - x_mean, y - y_mean
        if weights is not None:
            root = np.sqrt(weights)
            x, y = x * root[:, None], y * root
        return cls(x.T @ x, x.T @ y, float(y @ y), n, x_mean, y_mean)

    def fit(self, penalty: float, start: Floats | None = None) -> Floats:
        """Return the coefficients [p] that minimise |y - x w|^2 / 2n + penalty |w|, from ``start`` or from 0."""
        w = np.zeros(len(self.xy)) if start is None else start.copy()
        descend(self.gram, self.xy, self.yy, w, penalty * self.n, _GAP, _ROUNDS)
        return w

    def path(self, penalties: Floats) -> Floats:
        """Return the coefficients of every penalty, each from those of the one before: [p, penalties]."""
        found = [np.zeros(len(self.xy))]
        for penalty in penalties:
            found.append(self.fit(float(penalty), found[-1]))
        return np.stack(found[1:], axis=1)


@dataclass(frozen=True)
class Chosen:
    """A path of penalties [penalties] from the largest, and the error of each in every fold: [penalties, folds]."""

    penalties: Floats
    errors: Floats

    @property
    def best(self) -> float:
        """The penalty with the least error."""
        return float(self.penalties[int(np.argmin(self.errors.mean(axis=1)))])

    @property
    def sparing(self) -> float:
        """The largest penalty whose error lies within one standard error of the least."""
        errors = self.errors.mean(axis=1)
        spread = self.errors.std(axis=1, ddof=1) / np.sqrt(self.errors.shape[1])
        best = int(np.argmin(errors))
        return float(self.penalties[errors <= errors[best] + spread[best]].max())


def lasso(penalty: float, x: Floats, y: Floats, weights: Floats | None = None) -> tuple[Floats, float]:
    """Return the coefficients [p] and the intercept of y [n] on x [n, p]; each model counts ``weights`` [n]."""
    products = _Products.of(x, y, weights)
    w = products.fit(penalty)
    return w, products.y_mean - float(products.x_mean @ w)


def chosen(x: Floats, y: Floats, folds: list[tuple[Ints, Ints]]) -> Chosen:
    """Return the mean squared errors of a path of penalties on models held out: x [n, p], y [n].

    ``folds`` lists the models to fit on and those to predict.
    """
    whole = _Products.of(x, y)
    largest = float(np.abs(whole.xy).max()) / whole.n
    # A target so small, or one that does not vary, selects nothing at any penalty of the path.
    smallest = float(np.finfo(np.float64).resolution)
    penalties = (
        np.geomspace(largest, largest * _RANGE, _PENALTIES) if largest > smallest else np.full(_PENALTIES, smallest)
    )
    errors = []
    for train, test in folds:
        products = _Products.of(x[train], y[train])
        coefficients = products.path(penalties)
        intercepts = products.y_mean - products.x_mean @ coefficients
        errors.append(((x[test] @ coefficients - y[test][:, None] + intercepts) ** 2).mean(axis=0))
    return Chosen(penalties, np.stack(errors, axis=1))
