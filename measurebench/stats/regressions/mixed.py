"""A mixed-effects model: one slope, an intercept and a slope of its own for each defense."""

from typing import Any

import numpy as np

from measurebench.stats.analysis import MIXED
from measurebench.stats.population.population import Population
from measurebench.stats.regressions.least_squares import fit
from measurebench.stats.regressions.linear import standardised
from measurebench.stats.regressions.reml import Groups, maximised
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
    from scipy.special import ndtr, ndtri

    scale = float(y.std(ddof=1))
    design = np.column_stack([np.ones(len(z)), z])
    try:
        found = maximised(Groups.of(y / scale, design, names))
    except (np.linalg.LinAlgError, ValueError) as why:
        return None, f"the mixed model failed ({why}); least squares instead"
    spread = float(np.sqrt(max(0.0, float(found.cov[1, 1]))))
    slope, error = float(found.params[1]), float(found.errors[1])
    half = float(ndtri(0.975)) * error
    p = float(ndtr(-abs(slope / error)) * 2) if error else NAN
    if not found.converged or not np.all(np.isfinite([slope, half, p])):
        return None, "the mixed model did not converge; least squares instead"
    row = {
        "method": "mixed",
        "converged": True,
        "slope": slope * scale,
        "slope_ci_low": (slope - half) * scale,
        "slope_ci_high": (slope + half) * scale,
        "p_value": p,
        "slope_sd": spread * scale,
    }
    return row, "the slope's variance lies on its boundary" if spread < 1e-4 else ""


def _fallback(z: Floats, y: Floats, names: Any, units: Ints) -> dict[str, Any]:
    inside = np.stack([(names == d).astype(float) for d in np.unique(names)], axis=1)
    design = np.column_stack([inside, z])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return {"method": "none"}
    slope, low, high, p = fit(y, design, units).slope(design.shape[1] - 1)
    return {"method": "ols_cluster", "slope": slope, "slope_ci_low": low, "slope_ci_high": high, "p_value": p}
