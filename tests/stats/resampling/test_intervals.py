"""Intervals of perfect orders and of few units."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from measurebench.stats import analyze
from measurebench.stats.population.population import read_population
from measurebench.stats.resampling.intervals import is_perfect, perfect_interval, rank_interval, why_no_interval
from measurebench.stats.statistics.cohorts import find
from measurebench.stats.statistics.estimates import Draws
from measurebench.stats.statistics.registry import Question
from tests.stats.tables import grid


@pytest.mark.parametrize("k", [6, 10, 30, 200])
def test_a_perfect_order_has_the_interval_of_clopper_and_pearson(k: int) -> None:
    low, high = binomtest(k, k).proportion_ci(0.95, "exact")
    assert perfect_interval(1, k) == pytest.approx((2 * low - 1, 2 * high - 1))
    assert perfect_interval(-1, k) == pytest.approx((1 - 2 * high, 1 - 2 * low))


def test_few_comparisons_have_no_interval_and_say_that_p_decides() -> None:
    assert np.isnan(perfect_interval(1, 5)).all()
    assert np.isnan(perfect_interval(1, 0)).all()
    assert "its p-value decides" in why_no_interval(-1.0, 8)
    assert is_perfect(1 - 1e-13)
    assert not is_perfect(float("nan"))


def test_an_interval_that_ends_at_the_estimate_is_withheld_for_few_units_only() -> None:
    draws = np.linspace(0.65, 0.806, 1000)
    *ends, reason = rank_interval(0.806, draws, 5, 0.01)
    assert np.isnan(ends).all()
    assert reason == why_no_interval(0.806, 5)
    assert "too few for an interval" in reason
    assert rank_interval(0.806, draws, 12, 0.01)[:2] == pytest.approx((0.654, 0.802), abs=1e-3)
    assert rank_interval(0.7, draws, 5, 0.01)[:2] == pytest.approx((0.654, 0.802), abs=1e-3)


@pytest.mark.parametrize(("p", "told"), [(0.333, "p = 0.33"), (0.051, "p = 0.051"), (np.nan, "there is no p-value")])
def test_an_interval_of_few_units_that_the_permutations_contradict_is_withheld(p: float, told: str) -> None:
    draws = np.linspace(0.6, 0.9, 1000)
    *ends, reason = rank_interval(0.745, draws, 4, p)
    assert np.isnan(ends).all()
    assert reason == f"4 units are too few for an interval: their resamples exclude 0, but {told}"
    assert np.isnan(rank_interval(-0.745, -draws, 11, p)[:2]).all()
    assert rank_interval(0.745, draws, 12, p)[0] > 0.6  # with 12 units the bootstrap is trusted
    assert rank_interval(0.745, draws, 4, 0.05)[0] > 0.6
    assert rank_interval(0.1, np.linspace(-0.4, 0.5, 1000), 4, p)[0] < 0  # it includes 0, as the test does


@pytest.mark.parametrize("n_units", [5, 8])
def test_intervals_of_a_tied_measure_without_association_exclude_zero_as_seldom_as_they_should(n_units: int) -> None:
    """A measure of two values, two models a unit: the bootstrap alone excludes 0 in 13 to 38 % of these tables."""
    rng, tables, run = np.random.default_rng(n_units), 200, np.repeat(np.arange(n_units), 2)
    wrong: Counter[str] = Counter()
    for seed in range(tables):
        gap = rng.normal(size=n_units)[run] + 0.2 * rng.normal(size=2 * n_units)
        two = rng.permutation(np.r_[0.0, 1.0, rng.integers(0, 2, n_units - 2)])[run]
        table = pd.DataFrame({"gap": gap, "m": two, "run": run, "setting": (run < n_units // 2)})
        asked = {
            "target": "gap",
            "measures": ["m"],
            "settings": ["setting"],
            "defense": "defense",
            "cluster": "cluster",
        }
        population = read_population(table, run="run", **asked)
        draws = Draws.of(population, 200, 199, seed)
        for row in find(population, draws, Question({}, None, {}, {}), only=("overall", "conditional")).rows["m"]:
            wrong[row.statistic if not row.level else ""] += row.low > 0 or row.high < 0
    assert set(wrong) >= {"tau_b", "tau_a", "spearman", "pi", "pi_mean"}
    most = 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / tables)
    assert all(wrong[name] / tables <= most for name in wrong if name), wrong


def test_no_row_of_few_units_excludes_zero_against_its_permutations() -> None:
    """Four runs, two of each kind, that a measure of two values separates: p is 1/3."""
    table = grid().query("defense == 'AT'").iloc[:8].copy()
    table["separates"] = np.repeat([0.0, 1.0], 4)
    table["robust_gap_pgd"] += table["separates"]
    analysis = analyze(table, measures=["separates"], bootstrap=200, permutations=199)
    taus = ("tau_b", "tau_a", "spearman", "pi", "pi_mean", "tau_within", "weighted_tau", "tau_b_total_error")
    rows = pd.concat([analysis.correlations, analysis.supplement])
    rows = rows[rows["statistic"].isin(taus) & (rows["measure"] == "separates")]
    assert set(rows["statistic"]) == set(taus)
    assert not ((rows["ci_low"] > 0) | (rows["ci_high"] < 0))[~(rows["p_value"] <= 0.05)].any()
    assert "their resamples exclude 0" in " ".join(analysis.undefined["reason"])


@pytest.mark.parametrize("n", [8, 20, 60])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_perfect_association_holds_and_so_does_a_noisier_copy(n: int, sign: int) -> None:
    rng = np.random.default_rng(n)
    gap = rng.normal(size=n)
    table = pd.DataFrame({"robust_gap_pgd": gap, "same": sign * np.exp(gap), "near": gap + 0.1 * rng.normal(size=n)})
    judged = analyze(table, bootstrap=400).judgements.set_index("measure")
    assert judged["verdict"].tolist() == ["holds_undivided", "holds_undivided"]
    assert judged.loc["same", "found"] == ("+" if sign > 0 else "-")
    known = np.isfinite(judged.loc["same", "ci_low"])
    assert known == (n >= 12)


@pytest.mark.parametrize("tau", [0.8, 0.95])
def test_intervals_of_strong_associations_hold_the_truth_as_often_as_they_say(tau: float) -> None:
    """Eight and twenty models: where an interval is given it holds tau in 93 % of tables at least."""
    rng, rho = np.random.default_rng(1), np.sin(np.pi * tau / 2)
    for n in (8, 20):
        hits = []
        for _ in range(100):
            x, y = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], n).T
            table = pd.DataFrame({"gap": y, "m": x})
            row = analyze(table, target="gap", bootstrap=200, permutations=19).select("tau_b").iloc[0]
            if np.isfinite(row["ci_low"]):
                hits.append(row["ci_low"] <= tau <= row["ci_high"])
        assert np.mean(hits) > 0.89  # 0.95 less 2.5 standard errors of 100 tables


def test_five_runs_of_sixty_checkpoints_are_too_few_for_an_interval() -> None:
    rng = np.random.default_rng(0)
    run = np.repeat(np.arange(5), 60)
    level = np.arange(5.0)[run]
    table = pd.DataFrame(
        {"run": run, "gap": level + 0.2 * rng.normal(size=300), "m": level + 0.2 * rng.normal(size=300)}
    )
    row = analyze(table, target="gap", bootstrap=200).select("tau_b").iloc[0]
    assert row["estimate"] > 0.7
    assert np.isnan(row["ci_low"])


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"gap": [0.1, 0.2], "m": [1.0, 2.0]}),
        pd.DataFrame({"gap": np.arange(9.0), "m": np.arange(9.0), "run": "one"}),
    ],
)
def test_two_models_or_one_run_are_too_few_to_judge(table: pd.DataFrame) -> None:
    judged = analyze(table, target="gap", bootstrap=20, permutations=19).judgements.iloc[0]
    assert judged["verdict"] == "too_few"
    assert "cannot be judged on so few models" in judged["sentence"]


def test_a_partial_tau_of_fewer_than_twelve_units_has_no_interval_and_no_test() -> None:
    table = grid().head(22)  # eleven runs of two checkpoints
    analysis = analyze(table, measures=["signal"], bootstrap=50, permutations=19)
    row = analysis.select("partial_tau", "pgd_accuracy_train").iloc[0]
    assert np.isfinite(row["estimate"])
    assert np.isnan([row["ci_low"], row["p_value"]]).all()
    reasons = analysis.undefined.query("statistic == 'partial_tau'")["reason"]
    assert reasons.iloc[0] == "11 units are too few for an interval or a test of a partial tau"
    more = analyze(grid().head(24), measures=["signal"], bootstrap=50, permutations=19)
    assert np.isfinite(more.select("partial_tau", "pgd_accuracy_train").iloc[0]["ci_low"])


def test_a_perfect_matching_has_an_interval_and_a_sign_test() -> None:
    table = grid()
    table["perfect"] = table["robust_gap_pgd"].rank(method="first")
    table["robust_gap_pgd"] = table["perfect"]
    analysis = analyze(table, measures=["perfect"], settings=["setting_stop", "setting_batch_size"], bootstrap=50)
    rows = {r["axis"]: r for r in analysis.select("psi", "setting_stop").to_dict("records")}
    psi = rows["setting_stop"]
    assert psi["estimate"] == 1
    n_groups = int(analysis.matching.set_index("axis").loc["setting_stop", "n_groups"])
    mean = analysis.select("psi_mean").iloc[0]
    assert mean["estimate"] == 1
    assert 0 < mean["p_value"] <= 2 * 0.5**6
    assert psi["ci_low"] <= 2 * 0.025 ** (1 / n_groups) - 1 + 1e-12
    assert mean["ci_high"] == 1
