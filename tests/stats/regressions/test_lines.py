"""Lines for charts and residuals, against numpy and statsmodels."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy.stats import t

from measurebench.stats import Analysis, analyze
from measurebench.stats.regressions.lines import line
from tests.stats.tables import grid

QUICK: dict[str, Any] = {"bootstrap": 20, "permutations": 19}


@pytest.fixture(scope="module")
def found() -> tuple[pd.DataFrame, Analysis]:
    table = grid()
    return table, analyze(table, measures=["signal"], **QUICK)


def test_a_line_has_what_its_band_needs() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=12)
    y = 2 * x + rng.normal(size=12)
    found = line("m", "AT", x, y)
    assert found is not None
    fit = smf.ols("y ~ x", pd.DataFrame({"x": x, "y": y})).fit()
    assert (found["intercept"], found["slope"]) == pytest.approx(tuple(fit.params))
    assert found["residual_sd"] == pytest.approx(np.sqrt(fit.mse_resid))
    assert found["t_quantile"] == pytest.approx(t.ppf(0.975, 10))
    at = 0.7
    band = found["t_quantile"] * found["residual_sd"]
    band *= np.sqrt(1 / 12 + (at - found["x_mean"]) ** 2 / found["x_sum_squares"])
    frame = fit.get_prediction(pd.DataFrame({"x": [at]})).summary_frame(alpha=0.05).iloc[0]
    assert band == pytest.approx((frame["mean_ci_upper"] - frame["mean_ci_lower"]) / 2)
    assert (found["x_min"], found["x_max"], found["n_models"]) == (x.min(), x.max(), 12)


@pytest.mark.parametrize(
    "x",
    [np.array([1.0, 2.0]), np.ones(5), np.array([0.0, 1e-200, 2e-200]), np.array([0.0, 1e200, 2e200])],
    ids=["two models", "constant", "squares too small", "squares too large"],
)
def test_there_is_no_line_where_none_can_be_computed(x: np.ndarray) -> None:
    assert line("m", "", x, np.arange(float(len(x)))) is None


def test_there_is_a_line_over_all_models_and_one_inside_each_defense(found: tuple[pd.DataFrame, Analysis]) -> None:
    table, analysis = found
    assert analysis.fits["level"].tolist() == ["", "AT", "MART", "TRADES"]
    for row in analysis.fits.to_dict("records"):
        inside = table[table["defense"] == row["level"]] if row["level"] else table
        slope, intercept = np.polyfit(inside["signal"], inside["robust_gap_pgd"], 1)
        assert (row["slope"], row["intercept"]) == pytest.approx((slope, intercept))


@pytest.mark.parametrize(
    ("model", "level", "formula"),
    [
        ("simple", "", "signal"),
        (
            "settings_plus_measure",
            "",
            "signal + C(defense) + C(architecture) + C(setting_augmentation) + C(setting_batch_size) + C(setting_stop)",
        ),
        ("within_defense", "AT", "signal"),
    ],
)
def test_residuals_are_those_of_the_regression(
    found: tuple[pd.DataFrame, Analysis], model: str, level: str, formula: str
) -> None:
    table, analysis = found
    rows = analysis.residuals.query("model == @model and level == @level").set_index("model_id")
    inside = table[table["defense"] == level] if level else table
    fit = smf.ols(f"robust_gap_pgd ~ {formula}", inside.set_index("model_id")).fit()
    assert rows["residual"].sort_index().to_numpy() == pytest.approx(fit.resid.sort_index().to_numpy())
    internal = fit.get_influence().resid_studentized_internal
    studentized = pd.Series(internal, index=inside["model_id"]).sort_index()
    assert rows["studentized"].sort_index().to_numpy() == pytest.approx(studentized.to_numpy())
    assert (rows["observed"] - rows["predicted"]).to_numpy() == pytest.approx(rows["residual"].to_numpy())
    assert rows["studentized"].abs().is_monotonic_decreasing


def test_a_defense_of_few_models_has_no_residuals() -> None:
    table = grid()
    table = pd.concat([table[table["defense"] != "MART"], table[table["defense"] == "MART"].head(3)])
    rows = analyze(table, measures=["signal"], **QUICK).residuals
    assert set(rows.query("model == 'within_defense'")["level"]) == {"AT", "TRADES"}


def test_without_settings_there_is_one_regression_alone() -> None:
    table = grid()[["model_id", "robust_gap_pgd", "signal"]]
    assert set(analyze(table, **QUICK).residuals["model"]) == {"simple"}


def test_without_any_association_to_measure_there_are_no_residuals() -> None:
    analysis = analyze(grid().assign(signal=1.0), measures=["signal"], **QUICK)
    assert analysis.residuals.empty
    assert analysis.fits.empty
