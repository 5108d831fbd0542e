"""All measures together: what is chosen, what is left out, and that no fold divides a run."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Lasso

from measurebench.stats import analyze
from measurebench.stats.regressions.multivariable import DRAWS, FOLDS, _folds, _weighted
from tests.stats.tables import grid

QUICK: dict[str, Any] = {"bootstrap": 20, "permutations": 19}


def test_no_fold_divides_a_run_and_each_model_is_left_out_once() -> None:
    units = np.repeat(np.arange(12), [1, 2, 3] * 4)
    folds = _folds(units, 0)
    assert len(folds) == FOLDS
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(24))
    for train, test in folds:
        assert not set(units[train]) & set(units[test])
        assert len(train) + len(test) == 24


def test_weighted_coefficients_are_those_of_scikit_learns_lasso() -> None:
    rng = np.random.default_rng(4)
    x, weights = rng.normal(size=(60, 5)), rng.integers(0, 4, 60).astype(float)
    y = x @ [1.0, -0.5, 0.2, 0.0, 0.0] + rng.normal(size=60)
    expected = Lasso(alpha=0.15, max_iter=5000).fit(x, y, sample_weight=weights).coef_
    assert 0 in expected
    np.testing.assert_allclose(_weighted(0.15, x, y, weights), expected, rtol=0, atol=1e-3)
    np.testing.assert_array_equal(_weighted(0.15, x, y, weights) == 0, expected == 0)


def test_a_straight_line_of_two_measures_is_predicted_almost_fully() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 80))
    table = pd.DataFrame({"robust_gap_pgd": 2 * x[0] - x[1], **{f"m{k}": x[k] for k in range(4)}})
    analysis = analyze(table, **QUICK)
    rows = analysis.multivariable.set_index("measure")
    assert analysis.multivariable_fit["cv_r2"] > 0.95
    assert rows["n_draws"].unique().tolist() == [DRAWS]
    assert rows["n_models"].unique().tolist() == [80]
    assert rows.loc[["m0", "m1"], "selection_frequency"].tolist() == [1, 1]
    assert rows.loc["m0", "coefficient"] > 1 > 0 > rows.loc["m1", "coefficient"]
    assert rows.loc[["m2", "m3"], "coefficient"].abs().max() < 0.2


def test_noise_predicts_nothing() -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"robust_gap_pgd": rng.normal(size=60), "a": rng.normal(size=60), "b": rng.normal(size=60)})
    analysis = analyze(table, **QUICK)
    assert analysis.multivariable_fit["cv_r2"] < 0.1
    assert analysis.multivariable["coefficient"].abs().max() < 0.3


def test_measures_with_many_gaps_or_one_value_are_left_out_by_name() -> None:
    table = grid().assign(flat=1.0)
    table["gappy"] = np.where(np.arange(48) % 3 == 0, np.nan, table["noise"])
    table.loc[:4, "tied"] = np.nan
    found = analyze(table, **QUICK).multivariable_fit
    assert found["left_out"] == ["flat", "gappy"]
    assert found["measures"] == ["signal", "noise", "tied"]
    assert (found["n_models"], found["n_units"]) == (43, 22)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (grid().head(16), "3 measures with values on 8 independent units are too few"),
        (grid().drop(columns=["noise", "tied"]), "1 measures with values on 24 independent units are too few"),
    ],
)
def test_too_little_is_said_to_be_so(table: pd.DataFrame, reason: str) -> None:
    analysis = analyze(table, **QUICK)
    assert analysis.multivariable.empty
    assert analysis.multivariable_fit["reason"] == reason
    assert analysis.multivariable_fit["cv_r2"] is None


def test_the_same_seed_gives_the_same_fit_and_another_seed_other_folds() -> None:
    first, again, other = (analyze(grid(), seed=seed, **QUICK).multivariable_fit for seed in (0, 0, 1))
    assert first == again
    assert first["cv_r2"] != other["cv_r2"]
