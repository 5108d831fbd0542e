"""The reliability of the target inside each level: the share of its variance that is no sampling error."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from measurebench.stats import analyze
from measurebench.stats.population.population import Population, read_population
from measurebench.stats.population.target_error import level_reliability, target_error
from tests.stats.tables import grid


def population(table: pd.DataFrame) -> Population:
    return read_population(
        table,
        target="robust_gap_pgd",
        measures=["signal"],
        settings=["setting_batch_size"],
        defense="defense",
        run="run",
        cluster="cluster",
    )


def test_the_reliability_is_what_is_left_of_the_variance_without_the_binomial_one() -> None:
    table = grid()
    models = population(table)
    found = pd.DataFrame(level_reliability(models, target_error(models))).set_index(["axis", "level"])
    assert found.index[0] == ("", "")
    assert set(found.loc["defense"].index) == {"AT", "MART", "TRADES"}
    assert set(found.loc["setting_batch_size"].index) == {"64", "128"}
    for key, rows in ((("", ""), table), (("defense", "AT"), table[table["defense"] == "AT"])):
        shares = rows["pgd_accuracy_train"], rows["pgd_accuracy_test"]
        error = sum(p * (1 - p) / 1000 for p in shares).mean()
        total = rows["robust_gap_pgd"].var()
        assert found.loc[key, "error_variance"] == pytest.approx(error)
        assert found.loc[key, "target_variance"] == pytest.approx(total)
        assert found.loc[key, "reliability"] == pytest.approx(1 - error / total)
        assert (found.loc[key, "n_models"], found.loc[key, "n_units"]) == (len(rows), rows["run"].nunique())


def test_gaps_that_are_all_sampling_error_have_a_reliability_of_about_zero() -> None:
    rng = np.random.default_rng(0)
    counts = rng.binomial(500, 0.5, (2, 2000))
    table = pd.DataFrame({"model_id": [f"m{k}" for k in range(2000)], "defense": "Standard", "signal": range(2000)})
    table[["pgd_accuracy_train", "pgd_accuracy_test"]] = (counts / 500).T
    table = table.assign(n_train=500, n_test=500, setting_batch_size=1, robust_gap_pgd=(counts[0] - counts[1]) / 500)
    models = population(table)
    (whole, *_) = level_reliability(models, target_error(models))
    # A variance of 2,000 values is known to 3.2 %.
    assert whole["reliability"] == pytest.approx(0, abs=4 * 0.032)


def test_without_a_known_error_or_any_variance_there_is_no_reliability() -> None:
    models = population(grid())
    assert np.isnan([row["reliability"] for row in level_reliability(models, None)]).all()
    constant = replace(models, y=np.full(len(models.y), 0.1))
    assert np.isnan([row["reliability"] for row in level_reliability(constant, target_error(constant))]).all()


def test_an_analysis_carries_the_levels() -> None:
    levels = analyze(grid(), measures=["signal"], bootstrap=20, permutations=19).levels
    assert set(levels["axis"]) >= {"", "defense", "architecture", "setting_stop"}
    assert levels["reliability"].between(0, 1).all()


def test_what_the_settings_predict_of_held_out_runs_bounds_the_reliability_over_all_models() -> None:
    """A prediction that has not seen a run cannot have an error below the independent noise of its target."""
    table = grid().assign(n_train=100, n_test=100)  # all models see the same few images
    rng, noise = np.random.default_rng(1), 0.02
    table["robust_gap_pgd"] = 0.2 * table["setting_augmentation"] + noise * rng.normal(size=len(table))
    analysis = analyze(table, measures=["signal"], bootstrap=20, permutations=19)
    levels = analysis.levels.set_index(["axis", "level"])
    row = analysis.added.query("measure == 'signal' and variant == 'runs'").iloc[0]
    found = levels.loc[("", ""), "reliability_held_out"]
    assert found == pytest.approx(1 - row["mse_settings"] / table["robust_gap_pgd"].var())
    truth = 1 - noise**2 / table["robust_gap_pgd"].var()
    assert levels.loc[("", ""), "reliability"] < found < truth + 0.02
    assert levels.drop(("", ""))["reliability_held_out"].isna().all()


def test_the_bound_by_held_out_runs_needs_a_prediction_of_all_models() -> None:
    few = grid().query("defense != 'AT'")  # 16 runs are too few to hold some out
    assert analyze(few, measures=["signal"], bootstrap=20, permutations=19).levels["reliability_held_out"].isna().all()
    table = grid().drop(columns=["n_train", "n_test"])  # no sampling error is known, but predictions tell a bound
    table.loc[0, "signal"] = np.nan
    levels = analyze(table, measures=["signal"], bootstrap=20, permutations=19).levels
    assert levels["reliability"].isna().all()
    assert np.isfinite(levels["reliability_held_out"].iloc[0])  # of the controls, which have values on all models
    constant = replace(population(grid()), y=np.full(48, 0.1))
    assert np.isnan(level_reliability(constant, None, 0.1)[0]["reliability_held_out"])
