"""Least squares with errors that allow for unequal variances and for models of one run."""

from dataclasses import dataclass

import numpy as np

from measurebench.stats.resampling.draws import Floats, Ints
from measurebench.stats.resampling.student import t_quantile, t_tails
from measurebench.stats.statistics.estimates import NAN

__all__ = ["Fit", "fit", "r_squared"]


@dataclass(frozen=True)
class Fit:
    """A least squares fit: ``params`` [columns], their covariance [columns, columns], and its degrees of freedom.

    ``covariance`` names the kind of errors: cluster, HC3, HC1, or none where there are none.
    """

    n: int
    rank: int
    r2: float
    adj_r2: float
    params: Floats
    cov: Floats
    freedom: float
    covariance: str

    def slope(self, column: int) -> tuple[float, float, float, float]:
        """Return slope, 95 % interval and p-value of one column."""
        value = float(self.params[column])
        if self.covariance == "none":
            return value, NAN, NAN, NAN
        error = float(np.sqrt(self.cov[column, column]))
        half = t_quantile(self.freedom) * error
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.float64(value) / error
        return value, value - half, value + half, t_tails(float(t), self.freedom)

    def wald_p(self, columns: slice) -> float:
        """Return the p-value of the F test that the coefficients of these columns are all 0."""
        from scipy.special import fdtrc

        chosen, cov = self.params[columns], self.cov[columns, columns]
        rank = int(np.linalg.matrix_rank(cov))
        return float(fdtrc(rank, self.freedom, float(chosen @ np.linalg.pinv(cov) @ chosen) / rank))


def fit(y: Floats, design: Floats, units: Ints) -> Fit:
    """Return the least squares fit of y [n] on a design [n, columns] that holds its own constant.

    R2 = 1 - SSE/SST. Errors are clustered by ``units`` [n] where models share one (Liang and Zeger 1986, with Stata's
    small-sample factor), else HC3 (MacKinnon and White 1985); t distribution, with the number of units less one, or of
    models less columns, as degrees of freedom. HC3 divides by 1 minus the leverage, so HC1 is used where a model has a
    level of its own. Models of one single unit have no error that could be known: there is no interval then.
    """
    inverse = np.asarray(np.linalg.pinv(design, rcond=1e-15), dtype=np.float64)
    params = inverse @ y
    residual = y - design @ params
    n, columns = design.shape
    n_units = len(np.unique(units))
    freedom = float(n - columns)
    if n_units < 2:
        cov, kind = np.full((columns, columns), NAN), "none"
    elif n_units < n:
        cov, kind, freedom = _clustered(inverse, design * residual[:, None], units, n_units), "cluster", n_units - 1.0
    else:
        cov, kind = _unequal(inverse, design, residual)
    r2 = 1 - float((residual**2).sum()) / float(((y - y.mean()) ** 2).sum())
    adj = 1 - (1 - r2) * (n - 1) / (n - columns) if n > columns else NAN
    return Fit(n, columns, r2, adj, params, cov, freedom, kind)


def _clustered(inverse: Floats, scores: Floats, units: Ints, n_units: int) -> Floats:
    """Return the covariance from scores [n, columns] that are summed by unit."""
    n, columns = scores.shape
    sums = np.stack([np.bincount(units, column) for column in scores.T], axis=1)
    bread = inverse @ inverse.T
    factor = n_units / (n_units - 1.0) * ((n - 1.0) / float(n - columns))
    return np.asarray(bread @ (sums.T @ sums) @ bread.T * factor)


def _unequal(inverse: Floats, design: Floats, residual: Floats) -> tuple[Floats, str]:
    """Return the covariance HC3 and its name, or HC1 where a model fits itself exactly."""
    leverage = np.einsum("ij,ji->i", design, inverse)
    if leverage.max() < 1 - 1e-6:
        scale, kind = (residual / (1 - leverage)) ** 2, "HC3"
    else:
        n, columns = design.shape
        scale, kind = n / (n - columns) * residual**2, "HC1"
    return np.asarray(inverse @ (scale[:, None] * inverse.T)), kind


def r_squared(y: Floats, design: Floats) -> float:
    """Return R2 of y [n] on a design [n, columns], without the errors."""
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return float(1 - (residual**2).sum() / ((y - y.mean()) ** 2).sum())
