"""Shifts of the target between levels of a setting, beside statsmodels' clustered errors and made shifts."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import t

from measurebench.stats import analyze
from measurebench.stats.judging.shifts import surest_shift
from measurebench.stats.statistics.matching import matching
from tests.stats.tables import grid

# 20 combinations of the other settings, each a comparison of its own, at levels a, b and c.
LEVELS = {"setting": list("abc") * 20, "others": [str(k // 3) for k in range(60)]}
MATCH = matching("setting", LEVELS, np.arange(60))


def made(shift_b: float, shift_c: float, seed: int = 0) -> np.ndarray:
    y = np.random.default_rng(seed).normal(size=60)
    return y + np.tile([0.0, shift_b, shift_c], 20)


def test_the_shift_and_its_interval_equal_a_regression_on_a_constant_with_clustered_errors() -> None:
    # Two checkpoints of each of 2 x 16 runs: the pairs of both checkpoints are one comparison.
    levels = {
        "setting": ["x", "x", "y", "y"] * 16,
        "stop": ["best", "last"] * 32,
        "b": [str(k // 4) for k in range(64)],
    }
    units = np.arange(64) // 2
    match, y = matching("setting", levels, units), np.random.default_rng(1).normal(size=64) + np.arange(64) % 4
    chosen = np.abs(y[match.i] - y[match.j]) < 3
    difference = (y[match.j] - y[match.i])[chosen]
    fit = sm.OLS(difference, np.ones(len(difference))).fit(
        cov_type="cluster", cov_kwds={"groups": match.component[chosen], "df_correction": True}, use_t=True
    )
    n, g = len(difference), len(np.unique(match.component[chosen]))
    # statsmodels multiplies the variance by G/(G-1) (n-1)/(n-k), which is G/(G-1) for the constant alone, k = 1.
    assert n > g > 12
    found = surest_shift(match, y, chosen)
    assert (found.level_from, found.level_to) == ("x", "y")
    assert (found.mean, found.low, found.high) == pytest.approx((fit.params[0], *fit.conf_int()[0]), rel=1e-9)


def test_the_surest_change_is_told_with_its_direction_and_corrected_for_the_others() -> None:
    y, every = made(0, -3), np.ones(60, dtype=bool)
    found = surest_shift(MATCH, y, every)
    assert found.level_to == "c"
    assert found.high < 0
    assert found.level_from in ("a", "b")
    difference = np.array([y[3 * k + 2] - y[3 * k + "ab".index(found.level_from)] for k in range(20)])
    half = difference.std(ddof=1) / np.sqrt(20) * t.ppf(1 - 0.025 / 3, 19)  # Bonferroni over a-b, a-c and b-c
    mean = difference.mean()
    assert (found.mean, found.low, found.high) == pytest.approx((mean, mean - half, mean + half))


def test_without_a_shift_seldom_any_change_is_called_shifted() -> None:
    every = np.ones(60, dtype=bool)
    found = [surest_shift(MATCH, made(0, 0, seed), every) for seed in range(300)]
    share = np.mean([shift.low > 0 or shift.high < 0 for shift in found])
    assert share < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_few_comparisons_have_a_mean_and_no_interval_and_none_have_nothing() -> None:
    chosen = MATCH.component < 5
    found = surest_shift(MATCH, made(1, 5), chosen)
    assert np.isfinite(found.mean)
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(surest_shift(MATCH, made(1, 5), np.zeros(60, dtype=bool)).mean)
    flat = surest_shift(MATCH, np.zeros(60), np.ones(60, dtype=bool))
    assert flat.mean == 0
    assert np.isnan(flat.low)  # all pairs agree: no width, no interval


def test_the_audit_marks_a_setting_whose_pairs_with_close_gaps_shift() -> None:
    table = grid()
    last = table["setting_stop"] == "last"
    table["pgd_accuracy_train"] = 0.5 + 0.02 * last + 0.001 * (np.arange(48) % 5)
    table["pgd_accuracy_test"] = 0.45
    table["robust_gap_pgd"] = table["pgd_accuracy_train"] - 0.45
    rows = analyze(table, measures=["signal"], bootstrap=20, permutations=19).fragility.set_index("axis")
    stop = rows.loc["setting_stop"]
    assert stop["n_alike"] == 24  # a standard error of the difference is 0.03
    assert (stop["level_from"], stop["level_to"]) == ("best", "last")
    gaps = table.pivot(index="run", columns="setting_stop", values="robust_gap_pgd")
    assert stop["shift"] == pytest.approx((gaps["last"] - gaps["best"]).mean())
    assert 0.015 < stop["shift_low"] < stop["shift"] < stop["shift_high"] < 0.025


def test_pairs_of_seeds_have_no_direction_and_no_shift() -> None:
    again = grid(1).assign(run=lambda t: t["run"] + "-2", model_id=lambda t: t["model_id"] + "-2")
    table = pd.concat([grid(), again], ignore_index=True)
    row = analyze(table, measures=["signal"], bootstrap=20, permutations=19).fragility.set_index("axis").loc["run"]
    assert row["level_from"] == row["level_to"] == ""
    assert np.isnan([row["shift"], row["shift_low"], row["shift_high"]]).all()
