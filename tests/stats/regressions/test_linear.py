import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from measurebench.stats import analyze
from measurebench.stats.regressions.linear import fit, independent, r_squared, standardised
from tests.stats.tables import grid


@pytest.fixture(scope="module")
def found():
    table = grid()
    analysis = analyze(table, bootstrap=50, permutations=19, measures=["signal", "noise"])
    table["z"] = (table["signal"] - table["signal"].mean()) / table["signal"].std(ddof=1)
    table["unit"] = np.unique(table["run"], return_inverse=True)[1]
    return table, analysis.regressions.query("measure == 'signal'"), analysis


SETTINGS = "C(defense) + C(architecture) + C(setting_augmentation) + C(setting_batch_size) + C(setting_stop)"


def _formula(table, formula: str):
    return smf.ols(f"robust_gap_pgd ~ {formula}", table).fit(
        cov_type="cluster", cov_kwds={"groups": table["unit"]}, use_t=True
    )


def _left_out(table: pd.DataFrame, formula: str, columns: slice) -> np.ndarray:
    """The jackknife's covariance of some coefficients, by one fit of a formula without each unit."""
    whole = smf.ols(f"robust_gap_pgd ~ {formula}", table).fit().params.loc[columns]
    without = [
        smf.ols(f"robust_gap_pgd ~ {formula}", table[table["unit"] != unit]).fit().params.loc[columns]
        for unit in table["unit"].unique()
    ]
    moved = np.array(without) - whole.to_numpy()
    return (len(moved) - 1) / len(moved) * moved.T @ moved


@pytest.mark.parametrize(
    ("model", "formula"),
    [("simple", "z"), ("settings_plus_measure", f"{SETTINGS} + z"), ("within_defense", "C(defense) + z")],
)
def test_regressions_equal_those_of_a_formula(found, model: str, formula: str) -> None:
    table, rows, _ = found
    row = rows.query("model == @model and level == ''").iloc[0]
    expected = _formula(table, formula)
    assert row["r2"] == pytest.approx(expected.rsquared)
    assert row["adj_r2"] == pytest.approx(expected.rsquared_adj)
    assert row["slope"] == pytest.approx(expected.params["z"])
    slope = expected.params["z"]
    error = _left_out(table, formula, slice("z", "z"))[0, 0] ** 0.5
    law = stats.t(table["unit"].nunique() - 1)
    assert (row["slope_ci_low"], row["slope_ci_high"]) == pytest.approx(
        (slope - law.ppf(0.975) * error, slope + law.ppf(0.975) * error)
    )
    assert row["p_value"] == pytest.approx(2 * law.sf(abs(slope) / error))


def test_delta_r2_is_what_the_measure_adds_to_the_settings(found) -> None:
    table, rows, analysis = found
    alone = analysis.regressions.query("model == 'settings_only'").iloc[0]
    both = rows.query("model == 'settings_plus_measure'").iloc[0]
    assert alone["r2"] == pytest.approx(_formula(table, SETTINGS).rsquared)
    assert both["delta_r2"] == pytest.approx(both["r2"] - alone["r2"])


def test_equal_slopes_are_tested_by_the_interaction(found) -> None:
    table, rows, _ = found
    names = slice("C(defense)[T.MART]:z", "C(defense)[T.TRADES]:z")
    both = _formula(table, "C(defense) * z").params.loc[names].to_numpy()
    wald = both @ np.linalg.solve(_left_out(table, "C(defense) * z", names), both) / 2
    p = stats.f(2, table["unit"].nunique() - 1).sf(wald)
    assert rows.query("model == 'slope_interaction'")["p_value"].iloc[0] == pytest.approx(float(p))


def test_a_slope_inside_one_defense_is_per_deviation_of_the_measure_there(found) -> None:
    table, rows, _ = found
    inside = table[table["defense"] == "AT"]
    row = rows.query("model == 'within_defense' and level == 'AT'").iloc[0]
    slope, _ = np.polyfit(inside["signal"], inside["robust_gap_pgd"], 1)
    assert row["slope"] == pytest.approx(slope * inside["signal"].std(ddof=1))
    assert row["n_models"] == 16


def test_the_line_of_a_chart_predicts_what_polyfit_predicts(found) -> None:
    table, _, analysis = found
    row = analysis.fits.query("measure == 'signal' and level == ''").iloc[0]
    slope, intercept = np.polyfit(table["signal"], table["robust_gap_pgd"], 1)
    assert (row["slope"], row["intercept"]) == pytest.approx((slope, intercept))


def test_residuals_of_the_best_measure_sum_to_nothing_and_come_largest_first(found) -> None:
    _, _, analysis = found
    rows = analysis.residuals.query("model == 'simple'")
    assert rows["measure"].unique().tolist() == [analysis.ranking()["measure"].iloc[0]]
    assert rows["residual"].sum() == pytest.approx(0, abs=1e-12)
    assert rows["studentized"].abs().is_monotonic_decreasing


def test_leaving_a_setting_out_cannot_raise_r2(found) -> None:
    _, _, analysis = found
    assert (analysis.axes_r2["drop"] >= -1e-12).all()
    assert set(analysis.axes_r2["axis"]) == set(analysis.settings)


def test_columns_that_nested_settings_repeat_are_left_out() -> None:
    one, a = np.ones(6), np.array([1.0, 1, 0, 0, 0, 0])
    design = np.stack([one, a, 1 - a, np.array([0.0, 0, 1, 1, 0, 0])], axis=1)
    assert independent(design).shape == (6, 3)


def test_the_mixed_model_recovers_a_common_slope_or_says_that_it_fell_back(found) -> None:
    _, _, analysis = found
    row = analysis.mixed.query("measure == 'signal'").iloc[0]
    pooled = found[1].query("model == 'within_defense' and level == ''").iloc[0]
    assert row["method"] in {"mixed", "ols_cluster"}
    assert row["slope"] == pytest.approx(pooled["slope"], abs=3 * (pooled["slope_ci_high"] - pooled["slope"]))
    assert row["note"] or row["method"] == "mixed"


def test_two_defenses_are_too_few_for_random_effects() -> None:
    analysis = analyze(grid(), bootstrap=50, permutations=19, measures=["signal"], where='defense != "MART"')
    row = analysis.mixed.iloc[0]
    assert row["method"] == "ols_cluster"
    assert "too few" in row["note"]


def test_the_measure_that_carries_the_signal_is_selected_more_often() -> None:
    analysis = analyze(grid(strength=2.0), bootstrap=50, permutations=19)
    chosen = analysis.multivariable.set_index("measure")["selection_frequency"]
    assert chosen["signal"] > 0.95 > 0.5 > chosen["tied"]
    assert 0.2 < analysis.multivariable_fit["cv_r2"] < 1


def test_a_design_of_one_run_has_no_error_and_of_own_runs_has_hc3() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=20)
    y = x + rng.normal(size=20)
    design = np.column_stack([np.ones(20), x])
    own = fit(y, design, np.arange(20))
    assert own.covariance == "HC3"
    expected = smf.ols("y ~ x", pd.DataFrame({"x": x, "y": y})).fit(cov_type="HC3", use_t=True)
    assert own.slope(1) == pytest.approx((expected.params["x"], *expected.conf_int().loc["x"], expected.pvalues["x"]))
    single = fit(y, design, np.zeros(20, np.int64))
    assert single.covariance == "none"
    assert np.isnan(single.slope(1)[1:]).all()
    assert single.slope(1)[0] == pytest.approx(expected.params["x"])


def test_a_model_with_a_level_of_its_own_takes_hc1() -> None:
    y = np.arange(8.0) ** 2
    design = np.column_stack([np.ones(8), np.arange(8) == 7, np.arange(8)]).astype(float)
    assert fit(y, design, np.arange(8)).covariance == "HC1"


def test_r_squared_is_one_on_a_line_and_never_less_with_more_columns() -> None:
    rng = np.random.default_rng(1)
    design = np.column_stack([np.ones(15), rng.normal(size=(15, 3))])
    assert r_squared(design @ np.array([1.0, 2, 3, 4]), design) == pytest.approx(1)
    y = rng.normal(size=15)
    values = [r_squared(y, design[:, : k + 1]) for k in range(4)]
    assert values[0] == pytest.approx(0, abs=1e-12)
    assert (np.diff(values) >= -1e-12).all()


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_standardised_values_have_mean_zero_and_deviation_one(scale: float) -> None:
    z = standardised(np.array([1.0, 2.0, 4.0, 8.0]) * scale)
    assert (z.mean(), z.std(ddof=1)) == pytest.approx((0, 1))


@pytest.mark.parametrize(
    ("change", "model", "reason"),
    [
        ({"signal": 1.0}, "simple", "the measure is constant"),
        ({"robust_gap_pgd": 0.1}, "simple", "the target is constant"),
        ({"signal": [1.0, 2.0] + [np.nan] * 46}, "simple", "2 models are too few for a line"),
        (
            {"signal": lambda t: t["setting_batch_size"] * 1.0},
            "settings_plus_measure",
            "the settings determine the measure",
        ),
        ({"signal": [1.0, 2.0, 3.0, 5.0] + [np.nan] * 44}, "settings_plus_measure", "coefficients for 4 models"),
        (
            {"signal": lambda t: t["signal"].where(t["defense"] == "AT", 1.0)},
            "slope_interaction",
            "fewer than two defenses",
        ),
    ],
)
def test_what_cannot_be_fitted_has_its_reason(change: dict, model: str, reason: str) -> None:
    analysis = analyze(grid().assign(**change), measures=["signal"], bootstrap=20, permutations=19)
    rows = analysis.regressions.query("measure == 'signal' and model == @model and level == ''")
    assert rows["slope"].isna().all()
    told = analysis.undefined.query("statistic == @model and level == ''")["reason"]
    assert any(reason in text for text in told)


def test_equal_slopes_are_not_tested_with_fewer_runs_than_coefficients() -> None:
    table = grid().assign(run=[f"r{k // 10}" for k in range(48)])
    analysis = analyze(table, measures=["signal"], bootstrap=20, permutations=19)
    assert analysis.regressions.query("model == 'slope_interaction'")["p_value"].isna().all()
    assert any("fewer independent units than coefficients" in text for text in analysis.undefined["reason"])


def test_regressions_without_settings_are_the_simple_ones() -> None:
    table = grid()[["model_id", "robust_gap_pgd", "signal"]]
    analysis = analyze(table, bootstrap=20, permutations=19)
    assert analysis.regressions["model"].tolist() == ["simple"]
    assert analysis.axes_r2.empty
