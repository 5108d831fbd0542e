"""Which measure is best, beside slow loops and simulated tables whose best measure is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar

from measurebench.core.errors import BadInputError
from measurebench.stats import analyze, paired, tiers
from measurebench.stats.judging.fragility import fragility
from measurebench.stats.judging.paired import compare_pairs
from measurebench.stats.judging.stability import best_set, simultaneous, stability
from tests.stats.tables import grid

NAN = float("nan")


def test_shares_count_the_resamples_in_which_a_measure_is_first_and_split_ties() -> None:
    draws = {"a": np.array([0.5, 0.5, -0.9, 0.1]), "b": np.array([0.4, -0.5, 0.2, 0.3]), "c": np.full(4, NAN)}
    rows = {row["measure"]: row for row in stability({"a": 0.5, "b": 0.4, "c": NAN}, draws)}
    assert set(rows) == {"a", "b"}
    assert rows["a"]["share_first"] == pytest.approx((1 + 0.5 + 1 + 0) / 4)
    assert rows["b"]["share_first"] == pytest.approx((0 + 0.5 + 0 + 1) / 4)
    assert stability({"a": 0.5}, draws) == []


def test_the_p_value_of_being_best_equals_a_slow_loop() -> None:
    rng = np.random.default_rng(0)
    values = np.array([0.5, 0.45, 0.1])
    drawn = values[:, None] + 0.05 * rng.normal(size=(3, 60))
    for i in range(3):
        rivals = [j for j in range(3) if j != i]
        sd = {j: np.std([drawn[j, b] - drawn[i, b] for b in range(60)], ddof=1) for j in rivals}
        seen = max((values[j] - values[i]) / sd[j] for j in rivals)
        null = [max((drawn[j, b] - drawn[i, b] - values[j] + values[i]) / sd[j] for j in rivals) for b in range(60)]
        assert best_set(values, drawn)[i] == pytest.approx((1 + sum(v >= seen for v in null)) / 61)


def test_the_set_holds_the_best_measure_as_often_as_it_says_and_leaves_out_bad_ones() -> None:
    rng, held, bad = np.random.default_rng(1), [], []
    truth = np.array([0.5, 0.5, 0.48, 0.4, 0.0])
    for _ in range(400):
        found = truth + 0.05 * rng.normal(size=5)
        p = best_set(found, found[:, None] + 0.05 * rng.normal(size=(5, 300)))
        held.append(p[0] > 0.05)
        bad.append(p[4] > 0.05)
    assert np.mean(held) > 0.95 - 3 * 0.011
    assert np.mean(bad) == 0


def test_simultaneous_intervals_hold_all_values_at_once() -> None:
    rng, held, alone = np.random.default_rng(2), [], []
    truth = np.linspace(-0.3, 0.3, 10)
    for _ in range(400):
        found = truth + 0.05 * rng.normal(size=10)
        low, high = simultaneous(found, found[:, None] + 0.05 * rng.normal(size=(10, 300)))
        held.append(((low <= truth) & (truth <= high)).all())
        alone.append((np.abs(found - truth) < 1.96 * 0.05).all())
    assert np.mean(held) > 0.95 - 3 * 0.011
    assert np.mean(alone) < 0.75  # pointwise intervals hold all ten in 0.95^10 = 60 % of tables


def test_simultaneous_intervals_are_even_on_the_scale_of_arctanh() -> None:
    rng = np.random.default_rng(4)
    truth = np.array([0.0, 0.5, 0.95])
    drawn = np.tanh(np.arctanh(truth)[:, None] + 0.2 * rng.normal(size=(3, 500)))
    low, high = simultaneous(truth, drawn)
    z = np.arctanh(drawn) - np.arctanh(truth)[:, None]
    spread = z.std(axis=1, ddof=1)
    c = np.quantile(np.abs(z / spread[:, None]).max(axis=0), 0.95)
    np.testing.assert_allclose(low, np.tanh(np.arctanh(truth) - c * spread), rtol=1e-12)
    np.testing.assert_allclose(high, np.tanh(np.arctanh(truth) + c * spread), rtol=1e-12)
    perfect = simultaneous(np.array([1.0, 0.2]), np.stack([np.ones(500), drawn[0]]))
    assert perfect[0][0] == perfect[1][0] == 1.0


def test_a_weak_rival_is_not_larger_for_the_draws_in_which_it_turns() -> None:
    rng = np.random.default_rng(5)
    draws = {"a": 0.3 + 0.1 * rng.normal(size=2000), "b": 0.02 + 0.3 * rng.normal(size=2000)}
    row = {r["measure"]: r for r in stability({"a": 0.3, "b": 0.02}, draws)}["b"]
    z = {name: np.arctanh(np.clip(values, -0.9999, 0.9999)) for name, values in draws.items()}
    lead, moved = np.arctanh(0.3) - np.arctanh(0.02), z["a"] - z["b"]
    assert row["p_best"] == pytest.approx((1 + np.sum(moved - lead >= lead)) / 2001)


def test_an_analysis_says_which_measure_may_be_best() -> None:
    rows = analyze(grid(), bootstrap=200, permutations=99).stability.set_index("measure")
    assert rows["share_first"].sum() == pytest.approx(1)
    assert rows.loc["signal", "may_be_best"]
    assert not rows.loc["noise", "may_be_best"]


def test_fragility_counts_pairs_by_hand() -> None:
    table = grid()
    rows = analyze(table, measures=["signal"], bootstrap=20, permutations=19).fragility.set_index("axis")
    spread = np.subtract(*np.quantile(table["signal"], [0.75, 0.25]))
    n_alike = moved = 0
    for _, pair in table.groupby("run"):  # best and last checkpoint of one run
        a, b = pair.to_dict("records")
        variance = sum(
            m[f"pgd_accuracy_{s}"] * (1 - m[f"pgd_accuracy_{s}"]) / 1000 for m in (a, b) for s in ("train", "test")
        )
        if abs(a["robust_gap_pgd"] - b["robust_gap_pgd"]) < 2 * np.sqrt(variance):
            n_alike += 1
            moved += abs(a["signal"] - b["signal"]) > 0.5 * spread
    row = rows.loc["setting_stop"]
    assert (row["n_pairs"], row["n_alike"], row["moved"]) == (24, n_alike, moved)
    assert row["share"] == pytest.approx(moved / n_alike)


def test_another_seed_is_a_pair_of_runs_with_the_same_settings() -> None:
    again = grid(1).assign(run=lambda t: t["run"] + "-2", model_id=lambda t: t["model_id"] + "-2")
    table = pd.concat([grid(), again], ignore_index=True)
    rows = analyze(table, measures=["signal"], bootstrap=20, permutations=19).fragility.set_index("axis")
    assert rows.loc["run", "n_pairs"] == 48
    assert fragility(None, [], None) == []  # type: ignore[arg-type]


def test_pairs_of_models_equal_mcnemars_exact_test() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.random(200) < 0.6, rng.random(200) < 0.5
    found = paired(first, second)
    cells = pd.crosstab(first, second).to_numpy()
    assert found.p_value == pytest.approx(mcnemar(cells, exact=True).pvalue)
    assert found.difference == pytest.approx(first.mean() - second.mean())
    assert found.low < found.difference < found.high
    assert paired(first, first).p_value == 1


def test_paired_intervals_hold_the_difference_as_often_as_they_say() -> None:
    rng, held = np.random.default_rng(4), []
    for _ in range(600):  # of 100 examples one in ten differs; the second model gains 0.06
        u = rng.random(100)
        first, second = u < 0.5, (u < 0.48) | (u > 0.92)
        found = paired(second, first)
        held.append(found.low <= 0.06 <= found.high)
    assert np.mean(held) > 0.95 - 3 * 0.009


def test_tiers_hold_what_cannot_be_told_from_their_first() -> None:
    rng = np.random.default_rng(5)
    accuracies = {"a": 0.80, "b": 0.79, "c": 0.5, "d": 0.2}
    verdicts = np.stack([rng.random(500) < p for p in accuracies.values()])
    assert tiers(list(accuracies), verdicts) == [["a", "b"], ["c"], ["d"]] or verdicts[1].sum() > verdicts[0].sum()
    pairs, adjusted = compare_pairs(verdicts)
    assert len(pairs) == len(adjusted) == 6
    b, c = pairs[0][2].only_first, pairs[0][2].only_second
    assert pairs[0][2].p_value == pytest.approx(binomtest(b, b + c).pvalue)
    with pytest.raises(BadInputError, match="two of the same length"):
        paired(verdicts[0], verdicts[0][:10])
