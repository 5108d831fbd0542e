"""Statistics over all models against scipy and slow loops, and what must leave them unchanged."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, pearsonr, spearmanr, weightedtau

from measurebench.stats import Analysis, analyze
from measurebench.stats.resampling.draws import bootstrap_weights
from measurebench.stats.statistics.estimates import Cohort, Draws, Estimate, Sample
from measurebench.stats.statistics.overall import kendall, permuted_overall
from measurebench.stats.statistics.quarters import quarters
from measurebench.stats.statistics.registry import Asked, Question, find_statistic
from tests.stats.tables import grid, pair_tau

QUICK: dict[str, Any] = {"bootstrap": 30, "permutations": 39}
VALUES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=16)


def sample_of(x: np.ndarray, y: np.ndarray, units: np.ndarray | None = None, n_draws: int = 30) -> Sample:
    units = np.arange(len(x)) if units is None else units
    weights = bootstrap_weights(len(np.unique(units)), n_draws, 0)
    return Sample("m", x.astype(float), Cohort(np.arange(len(x)), y.astype(float), units, Draws(weights, 39, 0)))


def asked_of(sample: Sample, target: str = "robust_gap_pgd", **controls: np.ndarray) -> Asked:
    shown = SimpleNamespace(target=target, levels={})  # all that these statistics read of a population
    return Asked(shown, Question(controls, None, {}, {}), [sample])  # type: ignore[arg-type]


def rows_of(name: str, sample: Sample, asked: Asked | None = None) -> dict[str, Estimate]:
    return {row.statistic: row for row in find_statistic(name)(sample, asked or asked_of(sample))}


@settings(max_examples=40, deadline=None)
@given(VALUES)
def test_correlations_equal_scipys_with_ties(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=float).T
    rows = rows_of("overall", sample_of(x, y))
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert all(np.isnan(row.estimate) and "constant" in row.reason for row in rows.values())
        return
    assert rows["tau_b"].estimate == pytest.approx(kendalltau(x, y).statistic)
    assert rows["tau_a"].estimate == pytest.approx(pair_tau(x, y, "a"), abs=1e-12)
    assert rows["spearman"].estimate == pytest.approx(spearmanr(x, y).statistic, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(VALUES, st.sampled_from([np.exp, np.cbrt, lambda v: 3 * v - 7, lambda v: v**3]))
def test_a_rising_function_of_a_measure_changes_nothing(pairs: list[tuple[int, int]], rising: Any) -> None:
    x, y = np.array(pairs, dtype=float).T
    before, after = (rows_of("overall", sample_of(values, y)) for values in (x, rising(x)))
    for name, row in before.items():
        assert repr(after[name]) == repr(row)  # equal numbers, and NaN where NaN was


@settings(max_examples=25, deadline=None)
@given(VALUES)
def test_the_opposite_of_a_measure_has_the_opposite_correlation(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=float).T
    before, after = (rows_of("overall", sample_of(values, y)) for values in (x, -x))
    for name, row in before.items():
        assert after[name].estimate == pytest.approx(-row.estimate, abs=1e-6, nan_ok=True)
        assert (after[name].low, after[name].high) == pytest.approx((-row.high, -row.low), abs=1e-6, nan_ok=True)


@settings(max_examples=25, deadline=None)
@given(VALUES, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_estimate(pairs: list[tuple[int, int]], random: Any) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)
    before, after = (rows_of("overall", sample_of(*np.array(p, dtype=float).T)) for p in (pairs, shuffled))
    for name, row in before.items():
        assert after[name].estimate == pytest.approx(row.estimate, abs=1e-6, nan_ok=True)


@settings(max_examples=25, deadline=None)
@given(VALUES)
def test_measure_and_target_can_change_places(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=float).T
    before, after = rows_of("overall", sample_of(x, y)), rows_of("overall", sample_of(y, x))
    for name, row in before.items():
        assert after[name].estimate == pytest.approx(row.estimate, abs=1e-6, nan_ok=True)


def test_a_perfect_order_has_tau_one_and_an_interval_up_to_it() -> None:
    x = np.arange(20.0)
    rows = rows_of("overall", sample_of(x, x, n_draws=100))
    assert rows["tau_b"].estimate == rows["tau_a"].estimate == rows["spearman"].estimate == 1
    assert rows["tau_b"].low == pytest.approx(2 * 0.025 ** (1 / 10) - 1)  # ten disjoint pairs, all concordant
    assert "its p-value decides" in rows["spearman"].reason  # every draw has rho = 1
    assert rows["tau_b"].p_value == pytest.approx(1 / 40)  # the smallest that 39 permutations can give


def test_p_values_of_unrelated_measures_are_even() -> None:
    rng = np.random.default_rng(3)
    p_values = []
    for _ in range(60):
        sample = sample_of(rng.normal(size=20), rng.normal(size=20))
        p_values.append(kendall(sample, permuted_overall([sample])[0])[0][0].p_value)
    # All share one set of 39 exchanges; the mean of 60 even p-values has a standard error of 0.037.
    assert np.mean(p_values) == pytest.approx(0.5, abs=4 * 0.037)
    assert min(p_values) >= 1 / 40


def test_exchanges_move_whole_runs() -> None:
    # Two checkpoints of each of four runs: 24 orders of the runs are all that can happen.
    units = np.repeat(np.arange(4), 2)
    y = np.repeat([0.0, 1.0, 2.0, 3.0], 2)
    sample = sample_of(np.arange(8.0), y, units)
    donated = y[sample.cohort.donors]
    assert np.array_equal(donated[:, ::2], donated[:, 1::2])
    assert {tuple(sorted(row)) for row in donated.tolist()} == {tuple(sorted(y))}


@pytest.mark.parametrize(("target", "sign"), [("robust_gap_pgd", -1), ("autoattack_accuracy", 1)])
def test_the_best_models_count_most(target: str, sign: int) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.permutation(30).astype(float), rng.permutation(30).astype(float)
    sample = sample_of(x, y)
    found = rows_of("weighted_tau", sample, asked_of(sample, target))["weighted_tau"]
    # scipy ranks the largest value first, by hyperbolic weights 1 / (1 + rank), added for a pair (Vigna 2015).
    rank = np.argsort(np.argsort(-sign * y))
    assert found.estimate == pytest.approx(weightedtau(x, y, rank=rank).statistic)


@settings(max_examples=20, deadline=None)
@given(VALUES)
def test_the_weighted_tau_of_tied_values_equals_a_loop(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=float).T
    sample = sample_of(x, y)
    h = 1 / pd.Series(y).rank().to_numpy()
    parts = np.zeros(3)
    for i in range(len(x)):
        for j in range(i):
            a, b = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
            parts += (h[i] + h[j]) * np.array([a * b, a != 0, b != 0])
    expected = parts[0] / np.sqrt(parts[1] * parts[2]) if parts[1] * parts[2] > 0 else float("nan")
    found = rows_of("weighted_tau", sample, asked_of(sample))["weighted_tau"]
    assert found.estimate == pytest.approx(expected, nan_ok=True)


def test_r2_is_pearsons_r_squared_with_an_interval_and_no_test() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=30)
    y = x + rng.normal(size=30)
    row = rows_of("r2", sample_of(x, y, n_draws=200))["r2"]
    assert row.estimate == pytest.approx(pearsonr(x, y).statistic ** 2)
    assert row.low < row.estimate < row.high
    assert np.isnan(row.p_value)
    assert "not tested against zero" in row.reason
    assert rows_of("r2", sample_of(np.ones(5), np.arange(5)))["r2"].reason == "the measure is constant"


def brute_partial(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> float:
    xy, xz, yz = pair_tau(x, y), pair_tau(x, z), pair_tau(y, z)
    return (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))


def test_a_partial_tau_leaves_out_models_without_the_control() -> None:
    rng = np.random.default_rng(6)
    x, y, z = rng.integers(0, 6, (3, 25)).astype(float)
    sample = sample_of(x, y)
    known = np.arange(25) >= 5
    asked = asked_of(sample, all=z, some=np.where(known, z, np.nan), flat=np.ones(25), same=y, m=z)
    rows = {row.axis: row for row in find_statistic("partial_tau")(sample, asked)}
    assert set(rows) == {"all", "some", "flat", "same"}  # a measure is not held fixed against itself
    assert rows["all"].estimate == pytest.approx(brute_partial(x, y, z))
    assert rows["some"].estimate == pytest.approx(brute_partial(x[known], y[known], z[known]))
    assert (rows["some"].n_models, rows["some"].n_pairs) == (20, 190)
    assert rows["flat"].reason == "flat is constant or missing"
    assert rows["same"].reason == "same orders the measure or the target completely"


def test_quarters_hold_all_models_once_and_need_five_each() -> None:
    rng = np.random.default_rng(7)
    z = np.append(rng.normal(size=23), [np.nan] * 4)
    found = quarters(z)
    rows = np.concatenate([level.rows for level in found])
    assert sorted(rows) == list(range(23))
    assert [level.name.split(":")[0] for level in found] == [f"quarter {k}" for k in (1, 2, 3, 4)]
    assert max(z[found[0].rows]) < min(z[found[3].rows])
    assert quarters(z[:19]) == []
    assert quarters(np.repeat([0.0, 1.0], 20)) == []  # ties leave quarters without models


@pytest.fixture(scope="module")
def found() -> tuple[pd.DataFrame, Analysis]:
    table = grid()
    table.loc[table["defense"] == "MART", "defense"] = "Standard"
    return table, analyze(table, **QUICK)


def test_tau_inside_quarters_equals_pair_counting(found: tuple[pd.DataFrame, Analysis]) -> None:
    table, analysis = found
    rows = analysis.supplement.query(
        "statistic == 'tau_within' and axis == 'pgd_accuracy_train' and measure == 'signal'"
    )
    ordered = table.sort_values("model_id")
    z = ordered["pgd_accuracy_train"].to_numpy()
    assert len(rows) == 4
    for row, level in zip(rows.to_dict("records"), quarters(z), strict=True):
        inside = ordered.iloc[level.rows]
        expected = pair_tau(inside["signal"].to_numpy(), inside["robust_gap_pgd"].to_numpy())
        assert (row["n_models"], row["estimate"]) == (len(inside), pytest.approx(expected))


def test_test_accuracy_as_the_target_is_tau_b_with_it(found: tuple[pd.DataFrame, Analysis]) -> None:
    table, analysis = found
    rows = analysis.supplement.query("target == 'pgd_accuracy_test'").set_index("measure")
    assert set(rows["statistic"]) == {"tau_b"}
    for name in ("signal", "noise", "tied"):
        expected = kendalltau(table[name], table["pgd_accuracy_test"]).statistic
        assert rows.loc[name, "estimate"] == pytest.approx(expected)


def test_a_second_target_without_values_and_a_single_other_model_have_no_rows() -> None:
    table = grid().assign(pgd_accuracy_test=np.nan, n_train=np.nan)
    table["defense"] = ["AT", "TRADES"] + ["Standard"] * 46
    supplement = analyze(table, measures=["signal"], **QUICK).supplement
    assert set(supplement["target"]) == {"robust_gap_pgd"}
    assert "without" not in set(supplement["axis"])


def test_a_measure_with_one_value_says_so_in_place_of_numbers() -> None:
    table = grid()
    table["rare"] = np.where(np.arange(48) == 3, 1.0, np.nan)
    rows = analyze(table, measures=["rare"], **QUICK).correlations
    assert rows["statistic"].tolist() == ["tau_b", "tau_a", "spearman"]
    assert rows["estimate"].isna().all()
