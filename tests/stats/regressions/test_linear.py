import numpy as np
import pytest
import statsmodels.formula.api as smf

from measurebench.stats import analyze
from measurebench.stats.regressions.linear import independent
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
    assert (row["slope_ci_low"], row["slope_ci_high"]) == pytest.approx(tuple(expected.conf_int().loc["z"]))
    assert row["p_value"] == pytest.approx(expected.pvalues["z"])


def test_delta_r2_is_what_the_measure_adds_to_the_settings(found) -> None:
    table, rows, analysis = found
    alone = analysis.regressions.query("model == 'settings_only'").iloc[0]
    both = rows.query("model == 'settings_plus_measure'").iloc[0]
    assert alone["r2"] == pytest.approx(_formula(table, SETTINGS).rsquared)
    assert both["delta_r2"] == pytest.approx(both["r2"] - alone["r2"])


def test_equal_slopes_are_tested_by_the_interaction(found) -> None:
    table, rows, _ = found
    expected = _formula(table, "C(defense) * z")
    p = expected.f_test("C(defense)[T.MART]:z = 0, C(defense)[T.TRADES]:z = 0").pvalue
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
