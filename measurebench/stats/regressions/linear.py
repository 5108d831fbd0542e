"""Linear regressions of the target on a measure, on the settings, and on both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from measurebench.stats.population.population import Population
from measurebench.stats.regressions.jackknife import jackknife_covariance
from measurebench.stats.resampling.draws import Floats, Ints
from measurebench.stats.resampling.pair_counts import moderate
from measurebench.stats.statistics.estimates import NAN

__all__ = [
    "MODELS",
    "Fit",
    "Regressions",
    "dummies",
    "fit",
    "independent",
    "r_squared",
    "settings_importance",
    "standardised",
]

MODELS = ("simple", "settings_only", "settings_plus_measure", "within_defense", "slope_interaction")


@dataclass(frozen=True)
class Fit:
    """An ordinary least squares fit with errors robust to heteroscedasticity and to models of one run."""

    n: int
    rank: int
    r2: float
    adj_r2: float
    result: Any
    covariance: str

    def slope(self, column: int) -> tuple[float, float, float, float]:
        """Return slope, 95 % interval and p-value of one column."""
        if self.covariance == "none":
            return float(self.result.params[column]), NAN, NAN, NAN
        low, high = self.result.conf_int()[column]
        return float(self.result.params[column]), float(low), float(high), float(self.result.pvalues[column])


def fit(y: Floats, design: Floats, units: Ints) -> Fit:
    """Return the least squares fit of y [n] on a design [n, columns] that holds its own constant.

    R2 = 1 - SSE/SST. Errors are clustered by ``units`` [n] where models share one, else HC3; t distribution. Clustered
    ones are the jackknife's over G units, with G - 1 degrees of freedom. Both divide by 1 minus the leverage, so CV1
    or HC1 is used where a unit or model has a level of its own. Models of one single unit have no error that could be
    known: there is no interval then.
    """
    from statsmodels.regression.linear_model import OLS

    model = OLS(y, design)
    plain = model.fit()
    n_units = len(np.unique(units))
    if n_units < 2:
        robust, kind = plain, "none"
    elif n_units < len(units):
        robust, kind = _clustered(plain, units, n_units), "cluster"
    else:
        leverage = np.einsum("ij,ji->i", design, np.linalg.pinv(design))
        kind = "HC3" if leverage.max() < 1 - 1e-6 else "HC1"
        robust = plain.get_robustcov_results(kind, use_t=True)
    rank = design.shape[1]
    total = float(((y - y.mean()) ** 2).sum())
    r2 = 1 - float((plain.resid**2).sum()) / total
    adj = 1 - (1 - r2) * (len(y) - 1) / (len(y) - rank) if len(y) > rank else NAN
    return Fit(len(y), rank, r2, adj, robust, kind)


def _clustered(plain: Any, units: Ints, n_units: int) -> Any:
    """Return a fit with the jackknife's errors, or CV1 where a coefficient rests on one unit alone."""
    covariance = jackknife_covariance(plain.model.exog, plain.resid, units, plain.normalized_cov_params)
    if covariance is None:
        return plain.get_robustcov_results("cluster", groups=units, use_t=True)
    # What statsmodels' clusters lack: its CV1 holds the truth in four of five intervals with a dozen units.
    robust = plain.get_robustcov_results("HC0", use_t=True)  # the one that takes least time, whose errors are replaced
    robust.cov_params_default, robust.df_resid_inference = covariance, n_units - 1
    return robust


def r_squared(y: Floats, design: Floats) -> float:
    """Return R2 of y [n] on a design [n, columns], without the errors."""
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return float(1 - (residual**2).sum() / ((y - y.mean()) ** 2).sum())


def dummies(population: Population, axes: Sequence[str], rows: Ints) -> Floats:
    """Return a constant and one column for each level but the first of every setting: [rows, columns]."""
    columns = [np.ones(len(rows))]
    for axis in axes:
        names = np.array(population.levels[axis], dtype=object)[rows]
        columns += [(names == level).astype(float) for level in sorted(set(names.tolist()))[1:]]
    return independent(np.stack(columns, axis=1))


def independent(design: Floats) -> Floats:
    """Return the columns of a design [n, columns] that are no combination of those before them: [n, kept].

    So nested settings do no harm. Orthogonalised twice (Gram-Schmidt), since once loses digits to cancellation.
    """
    basis: list[Floats] = []
    kept: list[int] = []
    for k, column in enumerate(design.T):
        rest = column - sum((float(b @ column) * b for b in basis), np.zeros(len(column)))
        rest = rest - sum((float(b @ rest) * b for b in basis), np.zeros(len(column)))
        size = float(np.linalg.norm(rest))
        # What rounding leaves of a dependent column is about 1e-16 of its norm; a true remainder is far above 1e-9.
        if size > 1e-9 * max(1.0, float(np.linalg.norm(column))):
            basis.append(rest / size)
            kept.append(k)
    return design[:, kept]


def standardised(x: Floats) -> Floats:
    """Return (x - mean) / standard deviation, with n - 1 below: [n]. The values must differ."""
    scaled = moderate(x)
    return np.asarray((scaled - scaled.mean()) / scaled.std(ddof=1))


class Regressions:
    """All regressions of one population; what depends on the settings alone is fitted once per set of models."""

    def __init__(self, population: Population) -> None:
        self.population = population
        self._settings: dict[bytes, tuple[Floats, Floats, float]] = {}
        self.undefined: list[dict[str, Any]] = []

    def settings_only(self) -> list[dict[str, Any]]:
        """Return the row of the settings alone; without settings none."""
        if not self.population.levels:
            return []
        rows = np.arange(len(self.population.y))
        design = dummies(self.population, list(self.population.levels), rows)
        if reason := _unfit(self.population.y, design):
            return [self._missing("", "settings_only", "", len(rows), reason)]
        found = fit(self.population.y, design, self.population.units)
        return [self._row("", "settings_only", "", found)]

    def of(self, measure: str) -> list[dict[str, Any]]:
        """Return every regression on one measure, in target units per standard deviation of the measure."""
        x = self.population.measures[measure]
        rows = np.flatnonzero(np.isfinite(x))
        result = [self._simple(measure, x, rows, "simple", "")]
        if self.population.levels:
            result.append(self._added(measure, x, rows, list(self.population.levels), "settings_plus_measure"))
        defense = self.population.defense
        if defense is not None and defense in self.population.levels:
            result.append(self._added(measure, x, rows, [defense], "within_defense"))
            names = np.array(self.population.levels[defense], dtype=object)
            for level in sorted(set(names.tolist())):
                result.append(self._simple(measure, x, rows[names[rows] == level], "within_defense", str(level)))
            result.append(self._interaction(measure, x, rows, names))
        return result

    def _simple(self, measure: str, x: Floats, rows: Ints, model: str, level: str) -> dict[str, Any]:
        y = self.population.y[rows]
        if reason := _unusable(x[rows], y):
            return self._missing(measure, model, level, len(rows), reason)
        design = np.stack([np.ones(len(rows)), standardised(x[rows])], axis=1)
        found = fit(y, design, self.population.units[rows])
        return self._row(measure, model, level, found, found.r2, found.slope(1))

    def _added(self, measure: str, x: Floats, rows: Ints, axes: list[str], model: str) -> dict[str, Any]:
        """Add the measure to dummies; delta_r2 is its semi-partial share."""
        y = self.population.y[rows]
        if reason := _unusable(x[rows], y):
            return self._missing(measure, model, "", len(rows), reason)
        base, spanned, base_r2 = self._base(axes, rows, y)
        z = standardised(x[rows])
        design = np.column_stack([base, z])
        if reason := _unfit(y, design) or _explained(z, spanned):
            return self._missing(measure, model, "", len(rows), reason)
        found = fit(y, design, self.population.units[rows])
        return self._row(measure, model, "", found, found.r2 - base_r2, found.slope(design.shape[1] - 1))

    def _base(self, axes: list[str], rows: Ints, y: Floats) -> tuple[Floats, Floats, float]:
        """Return the dummies of settings, orthonormal columns that span them, and their R2."""
        key = rows.tobytes() + "|".join(axes).encode()
        if key not in self._settings:
            design = dummies(self.population, axes, rows)
            self._settings[key] = (design, np.linalg.qr(design)[0], r_squared(y, design))
        return self._settings[key]

    def _interaction(self, measure: str, x: Floats, rows: Ints, names: Any) -> dict[str, Any]:
        """Test equal slopes between the defenses that have at least three models and a measure that varies."""
        usable = [
            d
            for d in sorted(set(names[rows].tolist()))
            if not _unusable(x[rows[names[rows] == d]], self.population.y[rows])
        ]
        rows = rows[np.isin(names[rows].astype(str), [str(d) for d in usable])]
        if len(usable) < 2:
            reason = "fewer than two defenses have a slope"
            return self._missing(measure, "slope_interaction", "", len(rows), reason)
        y, z = self.population.y[rows], standardised(x[rows])
        inside = np.stack([(names[rows] == d).astype(float) for d in usable], axis=1)
        common = np.column_stack([inside, z])
        design = np.column_stack([common, inside[:, 1:] * z[:, None]])
        if reason := _unfit(y, design):
            return self._missing(measure, "slope_interaction", "", len(rows), reason)
        found = fit(y, design, self.population.units[rows])
        restriction = np.eye(design.shape[1])[common.shape[1] :]
        if len(np.unique(self.population.units[rows])) <= design.shape[1]:
            reason = "fewer independent units than coefficients: equal slopes are not tested"
            self._note(measure, "slope_interaction", "", reason)
            p = NAN
        else:
            p = float(found.result.f_test(restriction).pvalue)
        row = self._row(measure, "slope_interaction", "", found, found.r2 - r_squared(y, common))
        return row | {"p_value": p}

    def _row(
        self,
        measure: str,
        model: str,
        level: str,
        found: Fit,
        delta: float = NAN,
        slope: tuple[float, float, float, float] = (NAN, NAN, NAN, NAN),
    ) -> dict[str, Any]:
        return {
            "measure": measure,
            "target": self.population.target,
            "model": model,
            "n_models": found.n,
            "r2": found.r2,
            "adj_r2": found.adj_r2,
            "delta_r2": delta,
            "slope": slope[0],
            "slope_ci_low": slope[1],
            "slope_ci_high": slope[2],
            "p_value": slope[3],
            "level": level,
        }

    def _missing(self, measure: str, model: str, level: str, n: int, reason: str) -> dict[str, Any]:
        self._note(measure, model, level, reason)
        row = dict.fromkeys(("r2", "adj_r2", "delta_r2", "slope", "slope_ci_low", "slope_ci_high", "p_value"), NAN)
        return {
            "measure": measure,
            "target": self.population.target,
            "model": model,
            "n_models": n,
            "level": level,
        } | row

    def _note(self, measure: str, model: str, level: str, reason: str) -> None:
        axis = self.population.defense if level else ""
        self.undefined.append({"measure": measure, "statistic": model, "axis": axis, "level": level, "reason": reason})


def settings_importance(population: Population) -> list[dict[str, Any]]:
    """Return how much R2 falls when one setting is left out of the regression on all settings."""
    rows = np.arange(len(population.y))
    axes = list(population.levels)
    design = dummies(population, axes, rows) if axes else np.ones((len(rows), 1))
    if not axes or _unfit(population.y, design):
        return []
    full = r_squared(population.y, design)
    result = []
    for axis in axes:
        without = r_squared(population.y, dummies(population, [a for a in axes if a != axis], rows))
        result.append({"axis": axis, "n_models": len(rows), "r2": full, "r2_without": without, "drop": full - without})
    return result


def _unusable(x: Floats, y: Floats) -> str:
    if len(x) < 3:
        return f"{len(x)} models are too few for a line"
    if np.ptp(x) <= 1e-12 * max(1e-300, float(np.abs(x).max())):
        return "the measure is constant"
    return "the target is constant" if np.ptp(y) == 0 else ""


def _unfit(y: Floats, design: Floats) -> str:
    if np.ptp(y) == 0:
        return "the target is constant"
    if len(y) >= design.shape[1] + 2:
        return ""
    rank = int(np.linalg.matrix_rank(design))
    return f"{rank} coefficients for {len(y)} models" if len(y) < rank + 2 else ""


def _explained(z: Floats, axes: Floats) -> str:
    """Say whether the settings determine the measure, so that its slope beside them has no meaning.

    ``axes`` [n, columns] are orthonormal and span the settings.
    """
    left = z - axes @ (axes.T @ z)
    return "the settings determine the measure" if float((left**2).mean()) < 1e-10 else ""
