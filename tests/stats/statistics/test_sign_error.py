import numpy as np
import pandas as pd
import pytest

from measurebench.stats import analyze
from measurebench.stats.judging.adjustment import benjamini_hochberg
from measurebench.stats.statistics.sign_error import _together, _two_sided, pair_weights
from tests.stats.tables import grid


def test_pair_weights_have_the_published_values() -> None:
    # n = 10,000 train and test images: |dg| = 0.03 gives w = 0.6228, 0.05 gives 0.9923; 0.5 is taken off.
    inverse = np.full(3, 2 / 10_000)
    found = pair_weights(np.array([0.01, 0.03, -0.05]), inverse)
    assert found == pytest.approx([0.0, 0.1228, 0.4923], abs=1e-4)


def test_one_sample_weights_are_dziugaites() -> None:
    # exp(-2 n (|dg|/2)^2) with n = 10,000 is the case 1/n_train + 1/n_test = 1/n.
    found = pair_weights(np.array([0.01, 0.02, 0.03, 0.05]), np.full(4, 1 / 10_000))
    assert found + 0.5 == pytest.approx([0.5, 0.5319, 0.9561, 0.99999], abs=1e-4)


def test_the_sign_error_equals_a_loop_over_pairs() -> None:
    table = grid()
    analysis = analyze(table, measures=["signal"], bootstrap=50, permutations=19)
    axes = ["defense", "architecture", "setting_augmentation", "setting_batch_size"]
    wrong = weight = squares = 0.0
    for _, pair in table.groupby(axes):
        dg, dx = pair["robust_gap_pgd"].diff().iloc[1], pair["signal"].diff().iloc[1]
        w = max(0.0, max(0.0, 1 - 2 * np.exp(-2 * (abs(dg) / 2) ** 2 / (2 / 1000))) ** 2 - 0.5)
        weight += w
        squares += w**2
        wrong += w * (1 - np.sign(dx) * np.sign(dg)) / 2
    env = analysis.environments.query("axis == 'setting_stop'").iloc[0]
    assert (env["level_from"], env["level_to"], env["n_pairs"]) == ("best", "last", 24)
    if weight == 0:
        assert np.isnan(env["sign_error"])
    else:
        assert env["sign_error"] == pytest.approx(wrong / weight)
        assert env["effective_n"] == pytest.approx(weight**2 / squares)


def test_a_perfect_measure_makes_no_error_and_its_negative_only_errors() -> None:
    table = grid()
    rng = np.random.default_rng(3)
    table["robust_gap_pgd"] = rng.permutation(48) / 50
    table["perfect"], table["opposite"] = table["robust_gap_pgd"], -table["robust_gap_pgd"]
    analysis = analyze(table, measures=["perfect", "opposite"], bootstrap=50, permutations=99)
    worst = analysis.select("sign_error_max").set_index("measure")
    assert worst.loc["perfect", "estimate"] == 0
    assert worst.loc["opposite", "estimate"] == 1
    assert (worst["p_value"] < 0.05).all()  # both differ from chance, one by failing nowhere and one by failing


def test_few_sure_pairs_give_a_reason_in_place_of_a_number() -> None:
    table = grid().assign(n_train=20, n_test=20)
    analysis = analyze(table, measures=["signal"], bootstrap=50, permutations=19)
    assert analysis.select("sign_error_max")["estimate"].isna().all()
    reasons = analysis.undefined.query("statistic == 'sign_error_max'")["reason"]
    assert reasons.str.contains("surely differ").all()


def test_settings_with_many_and_with_few_pairs_are_judged_together() -> None:
    # From 300 pairs on fewer exchanges are drawn: the settings then have unequal numbers of them.
    table = pd.concat([grid(k).assign(setting_seed=k) for k in range(5)], ignore_index=True)
    table["model_id"] = [f"m{k}" for k in range(len(table))]
    table["run"] = table["model_id"]
    table = table.assign(n_train=100_000, n_test=100_000)
    analysis = analyze(table, measures=["signal"], bootstrap=20, permutations=250)
    pairs = analysis.matching.set_index("axis")["n_pairs"]
    assert pairs["setting_stop"] < 300 < pairs["setting_seed"]
    assert 0 <= analysis.select("sign_error_max")["estimate"].iloc[0] <= 1


def test_the_sign_error_over_all_settings_takes_those_of_the_settings_as_if_they_moved_together() -> None:
    # Two settings whose draws are the same values in another order: as if together they spread as one of them does,
    # where independent ones would spread 0.7 times as much.
    draws = np.random.default_rng(0).random((400, 1))
    mean, worst = _together([draws, draws[::-1]])
    assert np.sort(mean) == pytest.approx(np.sort(draws[:, 0]))
    assert np.sort(worst) == pytest.approx(np.sort(draws[:, 0]))
    alone = _together([np.column_stack([draws, draws + 1])])
    assert alone[0] == pytest.approx(draws[:, 0] + 0.5)  # within one setting the environments are drawn together
    assert alone[1] == pytest.approx(draws[:, 0] + 1)


def test_the_p_value_of_the_worst_error_is_two_sided_and_holds_its_level() -> None:
    null = np.arange(199) / 199  # 199 exchanges
    assert _two_sided(-1.0, null) == _two_sided(2.0, null) == pytest.approx(2 / 200)
    assert _two_sided(0.5, null) == 1
    rng = np.random.default_rng(0)
    errors = rng.random((400, 200, 3)).max(axis=2)  # the worst of three: 0.75 on average by chance, not 0.5
    p = np.array([_two_sided(row[0], row[1:]) for row in errors])
    assert np.mean(p <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert np.mean(p <= 0.5) == pytest.approx(0.5, abs=0.08)


def test_the_worst_of_one_change_is_judged_as_its_mean_is() -> None:
    # A setting with one change: mean and worst are the same number, so that both find the same of it.
    table = grid().assign(n_train=100_000, n_test=100_000)
    rng = np.random.default_rng(3)
    table["robust_gap_pgd"] = rng.permutation(48) / 50
    table["opposite"] = -table["robust_gap_pgd"] + 0.05 * rng.normal(size=48)
    found = analyze(table, measures=["opposite"], bootstrap=400, permutations=399)
    mean, worst = (found.select(f"sign_error_{name}", "setting_stop").iloc[0] for name in ("mean", "max"))
    assert worst["estimate"] == mean["estimate"] > 0.8
    assert worst["p_value"] < 0.02
    assert mean["p_value"] < 0.02


def test_p_values_of_the_worst_error_are_adjusted_by_themselves() -> None:
    found = analyze(grid().assign(n_train=100_000, n_test=100_000), bootstrap=60, permutations=99).correlations
    own = found[(found["statistic"] == "sign_error_max") & found["p_value"].notna()]
    assert len(own) > 3
    np.testing.assert_allclose(own["p_adjusted"], benjamini_hochberg(own["p_value"].to_numpy()))
    whole = (found["axis"] == "") & found["statistic"].isin(["tau_b", "tau_a", "spearman"])
    inside = (found["statistic"] == "tau_within") & (found["axis"] == "defense")
    apart = found["statistic"].isin(["sign_error_max", "tau_a", "residual_tau"])
    rest = found[~whole & ~inside & ~apart & found["p_value"].notna()]
    np.testing.assert_allclose(rest["p_adjusted"], benjamini_hochberg(rest["p_value"].to_numpy()))
