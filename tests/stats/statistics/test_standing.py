import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import percentileofscore

from measurebench.core.errors import BadInputError
from measurebench.stats import analyze
from measurebench.stats.statistics.standing import predict
from tests.stats.tables import grid

QUICK = {"bootstrap": 20, "permutations": 19}


def test_percentile_and_prediction_are_those_of_the_other_models() -> None:
    table = grid()
    name = "MART-wide-True-128-last"
    rows = analyze(table, model=name, **QUICK).standing.set_index("measure")
    row, others = table.set_index("model_id").loc[name], table[table["model_id"] != name]
    for measure in ("signal", "tied"):
        found = rows.loc[measure]
        assert found["n_models"] == 47
        assert found["percentile"] == pytest.approx(percentileofscore(others[measure], row[measure], kind="mean"))
        fit = sm.OLS(others["robust_gap_pgd"], sm.add_constant(others[measure])).fit()
        frame = fit.get_prediction([[1.0, row[measure]]]).summary_frame(alpha=0.05).iloc[0]
        assert found["predicted"] == pytest.approx(frame["mean"])
        assert found["predicted_low"] == pytest.approx(frame["obs_ci_lower"])
        assert found["predicted_high"] == pytest.approx(frame["obs_ci_upper"])
        assert found["residual"] == pytest.approx(row["robust_gap_pgd"] - frame["mean"])


def test_points_on_a_line_are_predicted_without_error() -> None:
    x = np.arange(6.0)
    value, half = predict(x, 2 * x + 1, 10.0)
    assert value == pytest.approx(21)
    assert half == pytest.approx(0, abs=1e-9)


def test_a_missing_value_has_no_standing() -> None:
    table = grid()
    table.loc[3, "signal"] = np.nan
    row = analyze(table, measures=["signal"], model=table.loc[3, "model_id"], **QUICK).standing.iloc[0]
    assert row[["value", "percentile", "predicted", "residual"]].isna().all()


def test_a_constant_or_rare_measure_has_a_percentile_and_no_line() -> None:
    table = grid().assign(flat=1.0)
    table["rare"] = [1.0, 2.0, 3.0] + [np.nan] * 45
    rows = analyze(table, measures=["flat", "rare"], model=table.loc[1, "model_id"], **QUICK).standing
    by_name = rows.set_index("measure")
    assert by_name["percentile"].to_dict() == {"flat": 50.0, "rare": 50.0}
    assert by_name["predicted"].isna().all()


def test_a_model_that_was_left_out_or_is_unknown_is_refused_with_the_reason() -> None:
    table = grid()
    table.loc[0, "robust_gap_pgd"] = np.nan
    with pytest.raises(BadInputError, match="it was left out: no robust_gap_pgd"):
        analyze(table, model=table.loc[0, "model_id"], **QUICK)
    with pytest.raises(BadInputError, match="did you mean 'AT-plain-False-64-last'"):
        analyze(table, model="AT-plain-False-64-lost", **QUICK)


def test_without_a_model_asked_for_there_is_no_standing() -> None:
    standing: pd.DataFrame = analyze(grid(), measures=["signal"], **QUICK).standing
    assert standing.empty
