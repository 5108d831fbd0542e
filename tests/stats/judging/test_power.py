import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from measurebench.stats import analyze
from measurebench.stats.judging.adjustment import realised_levels
from measurebench.stats.judging.power import (
    POWER,
    all_shown_in,
    can_show,
    chance_to_show,
    detectable_tau,
    null_deviation,
)
from tests.stats.tables import grid


def test_the_deviation_under_independence_is_the_one_of_many_random_orders() -> None:
    rng = np.random.default_rng(0)
    n, target = 15, np.arange(15)
    taus = [kendalltau(rng.permutation(n), target).statistic for _ in range(500)]
    # The deviation of 500 draws is known to 3.2 %.
    assert np.std(taus) == pytest.approx(null_deviation(n), rel=4 * 0.032)


def test_one_model_has_no_deviation() -> None:
    assert np.isnan(null_deviation(1))
    assert null_deviation(2) == pytest.approx(1.0)  # tau of two models is 1 or -1


@pytest.mark.parametrize(("n", "alpha", "power"), [(60, 0.05, 0.8), (24, 0.01, 0.8), (40, 0.05, 0.5), (12, 0.05, 0.8)])
def test_a_tau_of_the_detectable_size_is_found_as_often_as_asked(n: int, alpha: float, power: float) -> None:
    tau = detectable_tau(n, alpha, power)
    rng, rho = np.random.default_rng(n), np.sin(np.pi * tau / 2)  # tau of normal variables is 2/pi arcsin(rho)
    pairs = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], (800, n))
    found = np.mean([kendalltau(*pair.T, method="asymptotic").pvalue <= alpha for pair in pairs])
    # 800 tables know a share to 0.018; the approximation itself is good to about 0.03.
    assert found == pytest.approx(power, abs=3 * 0.018 + 0.03)
    assert chance_to_show(tau, n, alpha) == pytest.approx(power)


@pytest.mark.parametrize(("n", "alpha"), [(1, 0.05), (2, 0.05), (4, 0.05), (5, 0.01)])
def test_nothing_can_be_shown_where_not_even_a_perfect_order_is_rare_enough(n: int, alpha: float) -> None:
    # 2 of n! orders are perfect: 2/24 for four models, 2/120 = 0.017 for five.
    assert not can_show(n, alpha)
    assert np.isnan(detectable_tau(n, alpha))
    assert chance_to_show(0.99, n, alpha) == 0


def test_below_twelve_models_no_detectable_tau_is_given_though_a_perfect_order_may_be_shown() -> None:
    # At 6 models and 0.05 / 20 the critical tau is 3.02 * 0.355, above 1: the formula has no value.
    for n, alpha in ((5, 0.05), (6, 0.05 / 20), (11, 0.05)):
        assert can_show(n, alpha) == (n != 6)
        assert np.isnan(detectable_tau(n, alpha))
    assert 0.5 < detectable_tau(12, 0.05) < 0.7
    assert np.isnan(detectable_tau(12, 1e-6))  # a critical tau of 1.08
    assert 0.3 < chance_to_show(0.5, 10, 0.05) < chance_to_show(0.5, 24, 0.05) < 1


def test_nothing_is_missed_where_every_measure_is_shown() -> None:
    table, missed = grid(), "; weaker ones may have been missed"
    table["same"] = table["signal"] ** 3
    both = analyze(table, measures=["signal", "same"], bootstrap=200, permutations=999)
    rows = both.power.set_index("level")
    assert "" in all_shown_in(both.correlations, "defense")
    assert rows.loc["", "sentence"].endswith("in four of five or more such tables, at a level of 0.05.")
    one = analyze(table, measures=["signal", "tied"], bootstrap=200, permutations=999)
    assert all_shown_in(one.correlations, "defense") == set()
    assert one.power["sentence"].iloc[0].endswith(f"at a level of 0.05{missed}.")


def test_a_defense_in_which_every_measure_is_shown_counts_by_the_rule_of_the_judgement() -> None:
    ends = {"ci_low": 0.1, "ci_high": 0.5, "estimate": 0.3, "measure": "m"}
    total = ends | {"statistic": "tau_b", "axis": "", "level": "", "p_adjusted": 0.2}
    inside = ends | {"statistic": "tau_within", "axis": "defense", "level": "AT"}
    alone = [pd.DataFrame([total, inside | {"p_adjusted": p}]) for p in (0.001, 0.01)]
    assert [all_shown_in(rows, "defense") for rows in alone] == [{"AT"}, set()]
    strata = {"tau_stratified": 0.1, "stratified_low": -0.1, "stratified_high": 0.3}
    assert all_shown_in(pd.DataFrame([total, inside | {"p_adjusted": 0.001} | strata]), "defense") == set()
    assert all_shown_in(alone[0], None) == set()
    assert all_shown_in(alone[0].iloc[:0], "defense") == set()


def test_more_models_and_a_laxer_level_detect_smaller_taus() -> None:
    assert detectable_tau(200, 0.05) < detectable_tau(50, 0.05)
    assert detectable_tau(50, 0.05) < detectable_tau(50, 0.001)
    assert detectable_tau(50, 0.05, 0.5) < detectable_tau(50, 0.05, 0.9)


def test_power_is_told_over_all_models_and_inside_each_defense() -> None:
    table = grid()
    table = table[(table["defense"] != "MART") | (table["architecture"] == "plain")]
    analysis = analyze(table, measures=["signal", "noise"], bootstrap=20, permutations=199)
    rows = analysis.power.set_index("level")
    assert rows["scope"].to_dict() == {"": "all", "AT": "defense", "MART": "defense", "TRADES": "defense"}
    assert rows["n_units"].to_dict() == {"": 20, "AT": 8, "MART": 4, "TRADES": 8}
    assert set(rows["power"]) == {POWER}
    levels = realised_levels(analysis.correlations, "defense")
    assert levels.overall == 0.05  # the signal is shown: what is left of Holm for the noise is one test
    assert rows["alpha"].tolist() == [0.05, *(levels.inside[d] for d in ("AT", "MART", "TRADES"))]
    assert rows["alpha_alone"].tolist() == [0.05, *(levels.alone[d] for d in ("AT", "MART", "TRADES"))]
    assert rows.loc["", "detectable_tau"] == pytest.approx(detectable_tau(20, 0.05))
    told = "Over all models, with 20 independent units, an association of 0.44 would be shown in four of five"
    assert told in rows.loc["", "sentence"]
    assert "AT, there are 8 independent units: too few runs to say what would be shown." in rows.loc["AT", "sentence"]
    assert rows.loc["MART", "sentence"].startswith("Within MART, 4 independent units are too few to show any tau")
    assert rows["too_few"].to_dict() == {"": False, "AT": False, "MART": True, "TRADES": False}
    assert rows.loc[["AT", "MART"], "detectable_tau"].isna().all()


def test_the_least_p_value_is_that_of_the_permutations_or_of_a_normal_tail() -> None:
    table = grid()
    analysis = analyze(table, measures=["signal", "noise"], bootstrap=20, permutations=199)
    assert set(analysis.power["least_p"]) == {1 / 200}
    own = analyze(table, measures=["signal", "noise"], bootstrap=20).power.set_index("level")["least_p"]
    assert own[""] == 1 / 2001  # a thousand for each measure
    assert own["AT"] == 1 / 10_001  # five thousand for each
    told = "cannot show, inside AT, MART, TRADES, what is not shown over all models, among 2 measures"
    assert any(told in note for note in analysis.notes)
    few = analyze(table, measures=["signal", "noise"], bootstrap=20, permutations=19).power.set_index("level")
    assert np.isnan(few.loc["AT", "detectable_tau"])
    assert "Within AT, the permutations are too few to show anything" in few.loc["AT", "sentence"]
    runs = table.assign(run=table["model_id"], model_id=table["model_id"] + "-again", noise=table["noise"] + 1)
    large = pd.concat([table.assign(run=table["model_id"]), runs.assign(run=runs["model_id"])])
    few = analyze(large, measures=["signal", "noise"], bootstrap=20, permutations=199)
    assert few.power.set_index("level")["least_p"].to_dict() == {"": 1 / 200, "AT": 0, "MART": 0, "TRADES": 0}
    assert not any("cannot show, inside" in note for note in few.notes)


def test_what_turns_with_the_defense_is_shown_in_tables_of_any_size_among_many_measures() -> None:
    """tau +1 and -1 inside two defenses: of 30 runs in a small and a larger table, of 20 runs by the finer count."""
    rng = np.random.default_rng(0)
    for runs, checkpoints in ((30, 2), (20, 2), (60, 2)):
        defense = np.repeat(["AT", "TRADES"], runs * checkpoints)
        gap = np.repeat(rng.normal(size=2 * runs), checkpoints) + 0.1 * rng.normal(size=2 * runs * checkpoints)
        table = pd.DataFrame(
            {
                "model_id": [f"m{k}" for k in range(len(gap))],
                "run": np.repeat(np.arange(2 * runs), checkpoints),
                "defense": defense,
                "robust_gap_pgd": 0.1 + 0.03 * gap,
                "turning": np.where(defense == "AT", gap, -gap),
            }
        )
        noise = pd.DataFrame({f"noise_{k}": rng.normal(size=len(gap)) for k in range(11)})
        judged = analyze(pd.concat([table, noise], axis=1), bootstrap=100).judgements.set_index("measure")
        assert judged.loc["turning", "verdict"] == "turns_with_defense"
        assert "TRADES" not in judged.loc["turning", "edge"]


def test_a_measure_that_varies_more_than_the_formula_says_is_shown_from_a_larger_tau_on() -> None:
    plain = detectable_tau(190, 0.05)
    assert detectable_tau(190, 0.05, error=0.01) == plain
    wide = detectable_tau(190, 0.05, error=0.056)
    assert wide > plain + 0.015
    # Shown four times in five: the interval must leave out 0, and tau spreads by its own error.
    rng = np.random.default_rng(0)
    drawn = np.tanh(np.arctanh(wide) + 0.056 * rng.normal(size=100_000))
    assert np.mean(np.arctanh(drawn) > 1.959964 * 0.056) == pytest.approx(0.8, abs=0.01)
