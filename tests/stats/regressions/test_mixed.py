"""The mixed model against statsmodels, and every reason to fall back."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import approx_fprime
from statsmodels.regression.mixed_linear_model import MixedLM

from measurebench.stats import analyze
from measurebench.stats.regressions.mixed import _model, _Sums
from tests.stats.tables import grid

QUICK: dict[str, Any] = {"bootstrap": 20, "permutations": 19}


def grouped(slopes: dict[str, float], n: int = 40, seed: int = 0) -> pd.DataFrame:
    """Return models whose target follows the measure with a slope of its own in each defense."""
    rng = np.random.default_rng(seed)
    parts = []
    for defense, slope in slopes.items():
        x = rng.normal(size=n)
        gap = slope * x + rng.normal() + 0.2 * rng.normal(size=n)
        parts.append(pd.DataFrame({"defense": defense, "m": x, "robust_gap_pgd": gap}))
    return pd.concat(parts, ignore_index=True)


def mixed(table: pd.DataFrame) -> dict[str, Any]:
    return {str(k): v for k, v in analyze(table, measures=["m"], **QUICK).mixed.iloc[0].items()}


FIVE = {"a": 0.5, "b": 0.8, "c": 1.0, "d": 1.2, "e": 1.5}


def test_the_fit_is_that_of_statsmodels_per_deviation_of_the_measure() -> None:
    table = grouped(FIVE)
    row = mixed(table)
    z = (table["m"] - table["m"].mean()) / table["m"].std(ddof=1)
    design = np.column_stack([np.ones(len(z)), z])
    scale = table["robust_gap_pgd"].std(ddof=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MixedLM(table["robust_gap_pgd"].to_numpy() / scale, design, groups=table["defense"], exog_re=design)
        fit = model.fit(reml=True, method="lbfgs", maxiter=200)
    assert (row["method"], row["converged"], row["n_groups"], row["n_models"]) == ("mixed", True, 5, 200)
    assert row["slope"] == pytest.approx(fit.params[1] * scale, rel=1e-3)
    assert row["slope_sd"] == pytest.approx(np.sqrt(fit.cov_re[1, 1]) * scale, rel=1e-2)
    assert row["slope_ci_low"] < row["slope"] < row["slope_ci_high"]


def test_a_common_slope_is_recovered_and_its_spread_found() -> None:
    row = mixed(grouped(FIVE))
    assert row["slope"] == pytest.approx(1.0, abs=0.15)  # the mean of the five slopes
    assert row["slope_sd"] == pytest.approx(np.std(list(FIVE.values()), ddof=1), rel=0.3)
    assert row["p_value"] < 1e-6


def test_two_defenses_fall_back_to_least_squares_with_an_intercept_each() -> None:
    table = grouped({"a": 1.0, "b": 1.0})
    row = mixed(table)
    assert (row["method"], row["converged"]) == ("ols_cluster", False)
    assert row["note"] == "2 defenses are too few for random effects"
    centred = table.groupby("defense")[["m", "robust_gap_pgd"]].transform(lambda v: v - v.mean())
    slope = (centred["m"] * centred["robust_gap_pgd"]).sum() / (centred["m"] ** 2).sum()
    assert row["slope"] == pytest.approx(slope * table["m"].std(ddof=1))


def test_a_measure_that_is_constant_inside_defenses_has_no_fit() -> None:
    table = grouped({"a": 1.0, "b": 1.0}, n=10).assign(m=lambda t: (t["defense"] == "a") * 1.0)
    assert mixed(table)["method"] == "none"


@pytest.mark.parametrize("change", [{"m": 1.0}, {"robust_gap_pgd": 0.1}])
def test_where_nothing_varies_nothing_is_fitted(change: dict[str, float]) -> None:
    row = mixed(grouped(FIVE, n=6).assign(**change))
    assert (row["method"], row["note"]) == ("none", "too few models, or nothing varies")
    assert np.isnan(row["slope"])


def test_few_models_are_said_to_be_too_few() -> None:
    row = mixed(grouped({"a": 1.0, "b": 1.0}, n=2))
    assert (row["method"], row["n_models"], row["n_groups"]) == ("none", 4, 2)


def test_a_fit_that_does_not_converge_says_that_least_squares_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def singular(*_: object, **__: object) -> None:
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(MixedLM, "fit", singular)
    row = mixed(grouped(FIVE))
    assert row["note"] == "the mixed model failed (Singular matrix); least squares instead"
    assert row["method"] == "ols_cluster"
    assert row["slope"] == pytest.approx(1.0, abs=0.15)


def test_without_defenses_there_is_no_mixed_model() -> None:
    assert analyze(grid().drop(columns="defense"), measures=["signal"], **QUICK).mixed.empty


def test_the_likelihood_from_sums_is_that_of_statsmodels_and_the_score_its_slope() -> None:
    # statsmodels' own score has the wrong sign where a diagonal entry of the factor is negative, so that its optimiser
    # could stop beside the optimum and call it converged; the numerical slope of the likelihood decides.
    rng = np.random.default_rng(0)
    names = np.array(["a", "b", "c", "d"])[rng.integers(0, 4, 200)]
    design = np.column_stack([np.ones(200), rng.normal(size=200)])
    y = 0.5 * design[:, 1] * (names == "a") + rng.normal(size=200)
    fast, plain = _model(y, design, names), MixedLM(y, design, groups=names, exog_re=design)
    for model in (fast, plain):
        model.reml, model.use_sqrt, model.cov_pen, model.fe_pen, model._freepat = True, True, None, None, None
        model._cov_sing = 0
    for packed in ([0.5, 0.1, 0.3], [1.0, -0.4, 0.2], [0.3, 0.0, -0.3], [-0.2, 0.5, 0.4]):
        at = np.array(packed)
        assert fast.loglike(at) == pytest.approx(plain.loglike(at), rel=1e-12)
        assert fast.score(at) == pytest.approx(approx_fprime(at, fast.loglike, 1e-7), abs=1e-4)
    tiny = np.array([0.5, 0.1, 1e-6])  # nearly singular: statsmodels' own
    assert fast.loglike(tiny) == plain.loglike(tiny)


def test_a_perfect_fit_has_a_finite_likelihood_and_score() -> None:
    design = np.column_stack([np.ones(12), np.arange(12.0)])
    sums = _Sums.of(design @ [0.5, 0.25], design, np.repeat([0, 1, 2], 4))  # what is left is rounding, or exactly 0
    for factor in (np.eye(2), np.array([[0.1, 0.0], [0.0, 30.0]])):
        assert np.isfinite(sums.likelihood(factor))
        assert np.isfinite(sums.score(factor)).all()
