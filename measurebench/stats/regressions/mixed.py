"""A mixed-effects model: one slope, an intercept and a slope of its own for each defense."""

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from measurebench.stats.analysis import MIXED
from measurebench.stats.population.population import Population
from measurebench.stats.regressions.linear import fit, standardised
from measurebench.stats.resampling.draws import Floats, Ints
from measurebench.stats.statistics.estimates import NAN

__all__ = ["MIN_GROUPS", "mixed"]

MIN_GROUPS = 3  # a variance between two defenses rests on one degree of freedom


def mixed(population: Population, measure: str) -> dict[str, Any]:
    """Return the common slope of target on measure with random intercept and slope per defense (REML).

    Where fewer than three defenses exist or the fit does not converge, the row says so in ``note`` and holds the
    slope of least squares with an intercept per defense and cluster-robust errors (method ols_cluster).
    """
    x = population.measures[measure]
    rows = np.flatnonzero(np.isfinite(x))
    names = np.array(population.levels.get(population.defense or "", [""] * len(x)))[rows]
    groups = np.unique(names)
    row: dict[str, Any] = dict.fromkeys(MIXED, NAN)
    row |= {"measure": measure, "n_models": len(rows), "n_groups": len(groups), "converged": False, "note": ""}
    if len(rows) < len(groups) + 4 or np.ptp(x[rows]) == 0 or np.ptp(population.y[rows]) == 0:
        return row | {"method": "none", "note": "too few models, or nothing varies"}
    z, y, units = standardised(x[rows]), population.y[rows], population.units[rows]
    if len(groups) < MIN_GROUPS:
        note = f"{len(groups)} defenses are too few for random effects"
        return row | _fallback(z, y, names, units) | {"note": note}
    found, note = _reml(z, y, names)
    return row | (found or _fallback(z, y, names, units)) | {"note": note}


def _reml(z: Floats, y: Floats, names: Any) -> tuple[dict[str, Any] | None, str]:
    """Fit by REML; the target is scaled to unit deviation for the optimiser and back again."""
    scale = float(y.std(ddof=1))
    design = np.column_stack([np.ones(len(z)), z])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = _model(y / scale, design, names)
            result = model.fit(reml=True, method="lbfgs", maxiter=200)
            spread = float(np.sqrt(max(0.0, float(result.cov_re[1, 1]))))
            low, high = result.conf_int()[1]
            values = [float(v) for v in (result.params[1], low, high, result.pvalues[1])]
        except (np.linalg.LinAlgError, ValueError) as error:
            return None, f"the mixed model failed ({error}); least squares instead"
    if not result.converged or not np.all(np.isfinite(values)):
        return None, "the mixed model did not converge; least squares instead"
    slope, low, high = (v * scale for v in values[:3])
    note = "the slope's variance lies on its boundary" if spread < 1e-4 else ""
    found = {
        "method": "mixed",
        "converged": True,
        "slope": slope,
        "slope_ci_low": low,
        "slope_ci_high": high,
        "p_value": values[3],
        "slope_sd": spread * scale,
    }
    return found, note


def _model(y: Floats, design: Floats, names: Any) -> Any:
    """Return the mixed model of statsmodels, its likelihood and score computed from sums over each group.

    Statsmodels walks through the groups at every step of the optimiser; the sums take a third of the time, and are not
    blurred by the inverse of a small covariance, at which its optimiser may stop too early. Near a singular covariance
    it takes a generalised inverse, and there its own functions are used.
    """
    from statsmodels.regression.mixed_linear_model import MixedLM

    sums = _Sums.of(y, design, names)

    class Fast(MixedLM):  # type: ignore[misc]
        def loglike(self, params: Any, profile_fe: bool = True) -> float:
            factor = _factor(params) if profile_fe else None
            return float(super().loglike(params, profile_fe) if factor is None else sums.likelihood(factor))

        def score(self, params: Any, profile_fe: bool = True) -> Any:
            factor = _factor(params) if profile_fe else None
            return super().score(params, profile_fe) if factor is None else sums.score(factor)

    return Fast(y, design, groups=names, exog_re=design)


def _factor(params: Any) -> Floats | None:
    """Return the lower factor [2, 2] of the covariance from its packed entries; None where that is nearly singular."""
    if not isinstance(params, np.ndarray):
        return None
    factor = np.array([[params[0], 0.0], [params[1], params[2]]])
    # Far above the 1e-10 at which statsmodels calls a covariance singular.
    return factor if np.linalg.svd(factor, compute_uv=False)[-1] ** 2 > 1e-8 else None


_ROUNDING = float(np.finfo(np.float64).eps)

_Solved = tuple[Floats, Floats, Floats, float, Floats]


@dataclass(frozen=True)
class _Sums:
    """The sums over each group g of a model with the same fixed and random effects X [n, 2].

    ``xx`` [g, 2, 2] is X'X, ``xy`` [g, 2] X'y, ``yy`` y'y over all groups. With the covariance P of the random effects
    in units of the residual variance, V = I + X P X', X'V^-1 X = (I + X'X P)^-1 X'X and det V = det(I + X'X P).
    """

    xx: Floats
    xy: Floats
    yy: float
    n: int
    _last: dict[bytes, _Solved] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, y: Floats, design: Floats, names: Any) -> "_Sums":
        parts = [(design[names == g], y[names == g]) for g in np.unique(names)]
        return cls(np.stack([x.T @ x for x, _ in parts]), np.stack([x.T @ v for x, v in parts]), float(y @ y), len(y))

    def _solved(self, factor: Floats) -> _Solved:
        """Return what ``_solve`` does, once for the likelihood and the score, which the optimiser asks for in turn."""
        key = factor.tobytes()
        if key not in self._last:
            self._last.clear()
            self._last[key] = self._solve(factor)
        return self._last[key]

    def _solve(self, factor: Floats) -> _Solved:
        """Return det V, X'V^-1 X and X'V^-1 (y - X b) by group, the sum of r'V^-1 r, and the second summed."""
        cov = factor @ factor.T
        left = np.eye(2) + self.xx @ cov
        xvx = np.linalg.solve(left, self.xx)
        xvy = np.linalg.solve(left, self.xy[..., None])[..., 0]
        total = xvx.sum(axis=0)
        b = np.linalg.solve(total, xvy.sum(axis=0))
        squares = self.yy - float((self.xy * (xvy @ cov)).sum()) - float(xvy.sum(axis=0) @ b)
        squares = max(squares, _ROUNDING * self.yy)  # a perfect fit leaves nothing but rounding, of either sign
        det: Floats = np.linalg.det(left)
        return det, np.asarray(xvx, np.float64), xvy - xvx @ b, squares, np.asarray(total, np.float64)

    def likelihood(self, factor: Floats) -> float:
        """Return the restricted log-likelihood, fixed effects and residual variance profiled out."""
        det, _, _, squares, total = self._solved(factor)
        free = self.n - 2
        constant = free * (np.log(free) - np.log(2 * np.pi) - 1)
        spread = np.log(det).sum() + free * np.log(squares) + np.log(np.linalg.det(total))
        return float(constant - spread) / 2

    def score(self, factor: Floats) -> Floats:
        """Return its gradient for the entries of the factor: [3]."""
        _, xvx, left, squares, total = self._solved(factor)
        by_cov = (self.n - 2) / squares * (left.T @ left) - xvx.sum(axis=0)
        by_cov = by_cov + (xvx @ np.linalg.solve(total, xvx)).sum(axis=0)
        by_factor = by_cov @ factor
        return np.array([by_factor[0, 0], by_factor[1, 0], by_factor[1, 1]])


def _fallback(z: Floats, y: Floats, names: Any, units: Ints) -> dict[str, Any]:
    inside = np.stack([(names == d).astype(float) for d in np.unique(names)], axis=1)
    design = np.column_stack([inside, z])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return {"method": "none"}
    slope, low, high, p = fit(y, design, units).slope(design.shape[1] - 1)
    return {"method": "ols_cluster", "slope": slope, "slope_ci_low": low, "slope_ci_high": high, "p_value": p}
