"""Restricted maximum likelihood of a line with an intercept and a slope of its own in each group."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from measurebench.stats.resampling.draws import Floats

__all__ = ["Groups", "MixedFit", "maximised"]

# Newton's steps: how many at most; the expected gain in likelihood from which one more step reaches the last digit; the
# curvature that counts as none, in parts of the largest; the longest step, in logarithms; how often a step is halved.
_STEPS, _CLOSE, _FLAT, _LONGEST, _HALVINGS = 200, 1e-10, 1e-9, 2.0, 40
_ROUNDING = 1e-11

# The covariance of intercept and slope by its three entries.
_ENTRIES = np.array([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]])


@dataclass(frozen=True)
class MixedFit:
    """What was fitted: ``params`` [2] (intercept, slope), their standard errors, and the covariance of the effects.

    ``likelihood`` is the restricted log-likelihood.
    """

    params: Floats
    errors: Floats
    cov: Floats
    likelihood: float
    converged: bool


@dataclass(frozen=True)
class _Solved:
    """V is the covariance of a group in units of the residual variance, b the fixed effects, r = y - X b.

    ``det`` [g] are det V, ``xvx`` [g, 2, 2] X'V^-1 X, ``xvr`` [g, 2] X'V^-1 r, ``squares`` the sum of r'V^-1 r, ``b``
    [2], and ``total`` [2, 2] the sum of xvx.
    """

    det: Floats
    xvx: Floats
    xvr: Floats
    squares: float
    b: Floats
    total: Floats


@dataclass(frozen=True)
class Groups:
    """The sums over each group g of a model with the same fixed and random effects X [n, 2].

    ``xx`` [g, 2, 2] is X'X, ``xy`` [g, 2] X'y, ``yy`` y'y over all groups. With the covariance P of the random effects
    in units of the residual variance, V = I + X P X', X'V^-1 X = (I + X'X P)^-1 X'X and det V = det(I + X'X P).
    """

    xx: Floats
    xy: Floats
    yy: float
    n: int

    @classmethod
    def of(cls, y: Floats, design: Floats, names: Any) -> "Groups":
        """Sum the models of each name: y [n], design [n, 2], names [n]."""
        parts = [(design[names == g], y[names == g]) for g in np.unique(names)]
        return cls(np.stack([x.T @ x for x, _ in parts]), np.stack([x.T @ v for x, v in parts]), float(y @ y), len(y))

    def _solved(self, cov: Floats) -> _Solved:
        left = np.eye(2) + self.xx @ cov
        xvx = np.linalg.solve(left, self.xx)
        xvy = np.linalg.solve(left, self.xy[..., None])[..., 0]
        total = xvx.sum(axis=0)
        b = np.linalg.solve(total, xvy.sum(axis=0))
        squares = self.yy - float((self.xy * (xvy @ cov)).sum()) - float(xvy.sum(axis=0) @ b)
        if not squares > _ROUNDING * self.yy:
            raise np.linalg.LinAlgError("the lines fit exactly")
        return _Solved(np.linalg.det(left), np.asarray(xvx), xvy - xvx @ b, squares, b, np.asarray(total))

    def likelihood(self, factor: Floats) -> float:
        """Return the restricted log-likelihood of a lower factor [2, 2] of P, the other parameters profiled out."""
        return self._likelihood(self._solved(factor @ factor.T))

    def _likelihood(self, found: _Solved) -> float:
        free = self.n - 2
        constant = free * (np.log(free) - np.log(2 * np.pi) - 1)
        spread = np.log(found.det).sum() + free * np.log(found.squares) + np.log(np.linalg.det(found.total))
        return float(constant - spread) / 2

    def score(self, factor: Floats) -> Floats:
        """Return its gradient for the entries of the factor: [3]."""
        by_factor = self._by_cov(self._solved(factor @ factor.T)) @ factor
        return np.array([by_factor[0, 0], by_factor[1, 0], by_factor[1, 1]])

    def _by_cov(self, found: _Solved) -> Floats:
        """Return twice the derivative of the likelihood by P: [2, 2]."""
        by_cov = (self.n - 2) / found.squares * (found.xvr.T @ found.xvr) - found.xvx.sum(axis=0)
        return np.asarray(by_cov + (found.xvx @ np.linalg.solve(found.total, found.xvx)).sum(axis=0))

    def expanded(self, params: Floats) -> tuple[float, Floats, Floats]:
        """Return the likelihood, its gradient [3] and its curvature [3, 3] at the parameters of ``_lower`` [3]."""
        factor = _lower(params)
        found = self._solved(factor @ factor.T)
        by_cov = self._by_cov(found)
        joint = self._information(found)
        of_cov = joint[2:, 2:] - joint[2:, :2] @ np.linalg.solve(joint[:2, :2], joint[:2, 2:])
        (a, _), (b, c) = factor
        to_cov = np.array([[2 * a * a, 0.0, 0.0], [a * b, a, 0.0], [0.0, 2 * b, 2 * c * c]])
        by_factor = by_cov @ factor
        slope = np.array([a * by_factor[0, 0], by_factor[1, 0], c * by_factor[1, 1]])
        bent = np.diag([a * (by_factor[0, 0] + a * by_cov[0, 0]), by_cov[1, 1], 2 * c * by_factor[1, 1]])
        bent[0, 1] = bent[1, 0] = a * by_cov[1, 0]
        return self._likelihood(found), slope, to_cov.T @ of_cov @ to_cov + bent

    def at(self, factor: Floats, *, converged: bool) -> MixedFit:
        """Return the fit with this lower factor of P; errors from the observed information of all parameters.

        An error is NaN where the information gives none.
        """
        cov = factor @ factor.T
        found = self._solved(cov)
        variances = np.diag(np.linalg.inv(-self._information(found)))[:2]
        errors = np.sqrt(np.where(variances > 0, variances, np.nan))
        return MixedFit(found.b, errors, found.squares / (self.n - 2) * cov, self._likelihood(found), converged)

    def _information(self, found: _Solved) -> Floats:
        """Return the second derivatives of the restricted likelihood: [5, 5], b first, then the entries of P."""
        free, a, u = self.n - 2, found.xvx, found.xvr
        ea = np.einsum("jkl,glm->gjkm", _ENTRIES, a)  # E_j X'V^-1 X, and the same with the residuals
        eu = np.einsum("jkl,gl->gjk", _ENTRIES, u)
        xvax = np.einsum("gkl,gjlm->jkm", a, ea)
        once = np.einsum("gk,gjk->j", u, eu)
        twice = 2 * np.einsum("gik,gkl,gjl->ij", eu, a, eu)
        mixed = np.einsum("gkl,gjl->jk", a, eu)
        spread = np.einsum("gikl,gjlk->ij", ea, ea) / 2
        third = np.einsum("gkl,gilm,gjmo->ijko", a, ea, ea)
        per = np.linalg.solve(found.total, xvax)
        solved = np.linalg.solve(found.total, third + third.transpose(0, 1, 3, 2))
        profiled = (np.einsum("ikl,jlk->ij", per, per) - np.einsum("ijkk->ij", solved)) / 2
        result = np.empty((5, 5))
        result[:2, :2] = -free * found.total / found.squares
        result[2:, :2] = -free * mixed / found.squares
        result[:2, 2:] = result[2:, :2].T
        result[2:, 2:] = (
            spread - free / 2 * (twice / found.squares - np.outer(once, once) / found.squares**2) + profiled
        )
        return result


def maximised(groups: Groups) -> MixedFit:
    """Return the fit with the largest restricted likelihood, by Newton's method from P = 1.

    Raises LinAlgError where the lines fit exactly.

    Where the best P is singular, the logarithm of a diagonal entry falls until nothing is gained any more.
    """
    params, converged = np.zeros(3), False
    for _ in range(_STEPS):
        value, slope, curvature = groups.expanded(params)
        values, vectors = np.linalg.eigh(-curvature)
        sizes = np.maximum(np.abs(values), _FLAT * np.abs(values).max())
        step = vectors @ ((vectors.T @ slope) / sizes)
        gain = float(slope @ step)
        converged = gain < _CLOSE
        step = step / max(1.0, float(np.abs(step[::2]).max()) / _LONGEST)
        shorter = (params + step * 0.5**k for k in range(1 if converged else _HALVINGS))
        found = next((new for new in shorter if converged or groups.likelihood(_lower(new)) > value), None)
        if found is None:  # what is left to gain is below the rounding of the likelihood
            converged = gain < _ROUNDING * abs(value)
            break
        params = found
        if converged:
            break
    return groups.at(_lower(params), converged=converged)


def _lower(params: Floats) -> Floats:
    """Return the lower factor [2, 2] from the logarithms of its diagonal and the entry below: [3].

    So the diagonal never reaches 0, where the likelihood is level by symmetry and no way leads on.
    """
    return np.array([[np.exp(params[0]), 0.0], [params[1], np.exp(params[2])]])
