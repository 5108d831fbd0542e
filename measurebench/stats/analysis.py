"""The result of an analysis: tidy tables, each documented, and what they rest on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

__all__ = [
    "ADDED",
    "AXES_R2",
    "CORRELATIONS",
    "ENVIRONMENTS",
    "FITS",
    "FRAGILITY",
    "JUDGEMENTS",
    "LEVELS",
    "MATCHING",
    "MIXED",
    "MULTIVARIABLE",
    "POWER",
    "REGRESSIONS",
    "RESIDUALS",
    "STABILITY",
    "STANDING",
    "TABLES",
    "TESTS",
    "UNDEFINED",
    "Analysis",
    "FilterStep",
    "tidy",
]

CORRELATIONS = (
    "measure",
    "target",
    "statistic",
    "axis",
    "level",
    "n_models",
    "n_pairs",
    "estimate",
    "ci_low",
    "ci_high",
    "p_value",
    "p_adjusted",
)
REGRESSIONS = (
    "measure",
    "target",
    "model",
    "n_models",
    "r2",
    "adj_r2",
    "delta_r2",
    "slope",
    "slope_ci_low",
    "slope_ci_high",
    "p_value",
    "level",
)
JUDGEMENTS = (
    "measure",
    "title",
    "verdict",
    "sentence",
    "hypothesis",
    "found",
    "agrees",
    "reversal",
    "n_models",
    "tau_b",
    "ci_low",
    "ci_high",
    "p_value",
    "p_adjusted",
    "partial_tau",
    "partial_ci_low",
    "partial_ci_high",
    "added",
    "added_ci_low",
    "added_ci_high",
    "detectable_tau",
    "edge",
    "opposite",
    "residual_tau",
    "residual_ci_low",
    "residual_ci_high",
)
MATCHING = ("axis", "n_levels", "n_models", "n_groups", "n_pairs", "computable", "reason")
ENVIRONMENTS = (
    "measure",
    "target",
    "axis",
    "level_from",
    "level_to",
    "n_pairs",
    "effective_n",
    "kept",
    "sign_error",
    "orientation",
)
RESIDUALS = ("model_id", "measure", "model", "level", "observed", "predicted", "residual", "studentized")
FITS = (
    "measure",
    "level",
    "n_models",
    "intercept",
    "slope",
    "x_mean",
    "x_sum_squares",
    "residual_sd",
    "t_quantile",
    "x_min",
    "x_max",
)
MIXED = (
    "measure",
    "n_models",
    "n_groups",
    "method",
    "converged",
    "slope",
    "slope_ci_low",
    "slope_ci_high",
    "p_value",
    "slope_sd",
    "note",
)
MULTIVARIABLE = ("measure", "coefficient", "selection_frequency", "n_models", "n_draws")
AXES_R2 = ("axis", "n_models", "r2", "r2_without", "drop")
POWER = (
    "scope",
    "level",
    "n_models",
    "n_units",
    "alpha",
    "power",
    "detectable_tau",
    "sentence",
    "too_few",
    "alpha_alone",
    "least_p",
)
STANDING = (
    "model_id",
    "measure",
    "value",
    "percentile",
    "observed",
    "predicted",
    "predicted_low",
    "predicted_high",
    "residual",
    "n_models",
)
ADDED = (
    "measure",
    "variant",
    "axis",
    "n_models",
    "n_units",
    "mse_settings",
    "mse_with",
    "gain",
    "ci_low",
    "ci_high",
    "division_error",
    "reason",
    "p_value",
    "p_adjusted",
)
STABILITY = (
    "measure",
    "tau_b",
    "share_first",
    "p_best",
    "may_be_best",
    "simultaneous_low",
    "simultaneous_high",
)
FRAGILITY = (
    "measure",
    "axis",
    "n_pairs",
    "n_alike",
    "moved",
    "share",
    "part",
    "level_from",
    "level_to",
    "shift",
    "shift_low",
    "shift_high",
)
LEVELS = (
    "axis",
    "level",
    "n_models",
    "n_units",
    "target_variance",
    "error_variance",
    "reliability",
    "reliability_held_out",
)
TESTS = (
    "measure",
    "statistic",
    "axis",
    "level",
    "n_units",
    "n_permutations",
    "tau_stratified",
    "stratified_low",
    "stratified_high",
)
UNDEFINED = ("measure", "statistic", "axis", "level", "reason")

TABLES: dict[str, tuple[str, ...]] = {
    "correlations": CORRELATIONS,
    "regressions": REGRESSIONS,
    "judgements": JUDGEMENTS,
    "supplement": CORRELATIONS,
    "matching": MATCHING,
    "environments": ENVIRONMENTS,
    "residuals": RESIDUALS,
    "fits": FITS,
    "mixed": MIXED,
    "multivariable": MULTIVARIABLE,
    "axes_r2": AXES_R2,
    "power": POWER,
    "standing": STANDING,
    "undefined": UNDEFINED,
    "added": ADDED,
    "stability": STABILITY,
    "fragility": FRAGILITY,
    "controls": CORRELATIONS,
    "control_judgements": JUDGEMENTS,
    "levels": LEVELS,
    "tests": TESTS,
}


def tidy(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Return rows as a table with exactly these columns, in this order; without rows an empty one."""
    return pd.DataFrame(list(rows), columns=list(columns))


@dataclass(frozen=True)
class FilterStep:
    """One filter: how many models before and after, and each model that it left out with the reason."""

    name: str
    n_before: int
    n_after: int
    left_out: tuple[tuple[str, str], ...] = ()


def _empty(name: str) -> Callable[[], pd.DataFrame]:
    return lambda: tidy([], TABLES[name])


@dataclass(frozen=True)
class Analysis:
    """How each measure does as a predictor of ``target``; every table is tidy, one statement per row.

    ``correlations`` (design of the contract): statistic is tau_b, tau_a, spearman (axis and level empty: all
    models), tau_within (tau_b inside ``level`` of ``axis``; the defense is one of the axes), psi and pi (one row
    per axis), psi_mean, pi_mean (axis empty), partial_tau and residual_tau (axis names what is held fixed),
    sign_error_mean and sign_error_max (per axis, and with an empty axis over all). ``tau_a`` also has rows with axis
    and level.
    ``regressions``: model is simple, settings_only, settings_plus_measure, within_defense (level empty: common slope
    with an intercept per defense; otherwise inside that defense) or slope_interaction (p_value tests equal slopes).
    Slopes are in target units per standard deviation of the measure over the models used.
    ``judgements``: one row per measure; ``verdict`` is a code of ``measurebench.stats.judging.verdict.VERDICTS``,
    ``sentence`` the same in words, ``hypothesis`` and ``found`` are "+", "-" or "", ``agrees`` is True, False or None.
    ``opposite`` names the defenses that show the sign opposite to that over all models, where none shows that sign.
    ``supplement`` has the columns of correlations: weighted_tau, cmi, r2, tau_b_gap_noise, tau_b_total_error,
    tau_stratified (axis and level name the defense), and tau_b for other populations (axis "without", level "Standard")
    and for test robust accuracy as the target.
    ``matching``: what psi rests on per axis. ``environments``: the sign error for each change of one setting.
    ``residuals``: of the best measure's regressions, per model. ``fits``: raw lines per measure, over all models
    (level empty) and per defense; the band at x is
    ``t_quantile * residual_sd * sqrt(1/n + (x-x_mean)^2/x_sum_squares)``. ``standing``: the what-if for one model,
    empty unless asked for. ``undefined``: the reason of every missing estimate, interval or p-value.
    ``added``: what each measure, and each control, adds to the settings on held-out models; variant is runs or levels.
    ``stability``: how often each measure is first, whether it may be the best, and intervals that hold for all measures
    at once. ``fragility``: how often a measure moves between models that differ in one setting, and whose gaps
    one pair cannot tell apart; and whether the gaps of these pairs shift systematically.
    ``controls`` are tau_b, tau_within, partial_tau and residual_tau of the negative controls (random numbers, and what
    the settings alone predict), ``control_judgements`` what the rules of the measures say of them.
    ``levels``: the models, independent units and reliability of the target (the share of its variance that is no
    sampling error) over all models (axis and level empty) and inside each level of each setting;
    ``reliability_held_out``, over all models alone, is what the settings predict of held-out runs: so much is no error
    of a model's own.
    ``tests``: the independent units that tau_b and tau_within of measures and controls rest on, and the permutations
    that their p-values count among (0 for a normal tail); inside a defense also its stratified tau.
    ``gap_error``: how well the target itself is known; ``multivariable_fit``: cross-validated R2 of all measures.
    """

    target: str
    measures: tuple[str, ...]
    settings: tuple[str, ...]
    defense: str | None
    unit: str
    n_models: int
    n_units: int
    correlations: pd.DataFrame = field(default_factory=_empty("correlations"))
    regressions: pd.DataFrame = field(default_factory=_empty("regressions"))
    judgements: pd.DataFrame = field(default_factory=_empty("judgements"))
    supplement: pd.DataFrame = field(default_factory=_empty("supplement"))
    matching: pd.DataFrame = field(default_factory=_empty("matching"))
    environments: pd.DataFrame = field(default_factory=_empty("environments"))
    residuals: pd.DataFrame = field(default_factory=_empty("residuals"))
    fits: pd.DataFrame = field(default_factory=_empty("fits"))
    mixed: pd.DataFrame = field(default_factory=_empty("mixed"))
    multivariable: pd.DataFrame = field(default_factory=_empty("multivariable"))
    axes_r2: pd.DataFrame = field(default_factory=_empty("axes_r2"))
    power: pd.DataFrame = field(default_factory=_empty("power"))
    standing: pd.DataFrame = field(default_factory=_empty("standing"))
    undefined: pd.DataFrame = field(default_factory=_empty("undefined"))
    added: pd.DataFrame = field(default_factory=_empty("added"))
    stability: pd.DataFrame = field(default_factory=_empty("stability"))
    fragility: pd.DataFrame = field(default_factory=_empty("fragility"))
    controls: pd.DataFrame = field(default_factory=_empty("controls"))
    control_judgements: pd.DataFrame = field(default_factory=_empty("control_judgements"))
    levels: pd.DataFrame = field(default_factory=_empty("levels"))
    tests: pd.DataFrame = field(default_factory=_empty("tests"))
    gap_error: dict[str, Any] = field(default_factory=dict)
    multivariable_fit: dict[str, Any] = field(default_factory=dict)
    filters: tuple[FilterStep, ...] = ()
    notes: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    def select(self, statistic: str, axis: str = "", level: str | None = None) -> pd.DataFrame:
        """Return the correlations of one statistic and axis ("" for all models), of one level or of all levels."""
        rows = self.correlations
        chosen = (rows["statistic"] == statistic) & (rows["axis"] == axis)
        if level is not None:
            chosen &= rows["level"] == level
        return rows[chosen].reset_index(drop=True)

    def select_within(self, measure: str, axis: str | None = None) -> pd.DataFrame:
        """Return the defined tau_within of one measure, of every setting's levels or of one axis."""
        rows = self.correlations
        chosen = (rows["statistic"] == "tau_within") & (rows["measure"] == measure) & rows["estimate"].notna()
        if axis is not None:
            chosen &= rows["axis"] == axis
        return rows[chosen].reset_index(drop=True)

    def ranking(self) -> pd.DataFrame:
        """Return tau_b over all models, the strongest association first, undefined ones last."""
        rows = self.select("tau_b")
        order = np.argsort(-rows["estimate"].abs().fillna(-1).to_numpy(), kind="stable")
        return rows.iloc[order].reset_index(drop=True)
