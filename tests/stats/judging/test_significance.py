"""Judgements, claims and pages answer the same where a rule could be read in two ways."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from measurebench.core.intervals import ALPHA
from measurebench.reporting.charts.heatmap import turning_measures
from measurebench.reporting.subject.study import Study, is_sure
from measurebench.stats import Analysis, analyze, judged_claims
from measurebench.stats.judging.judgements import judgements
from measurebench.stats.judging.significance import (
    ALONE,
    excludes_zero,
    gain_on_the_edge,
    on_the_edge,
    significant,
)

JUST_ABOVE = float(np.nextafter(ALPHA, 1))


@pytest.mark.parametrize(
    ("p", "low", "high", "expected"),
    [
        (0.05, 0.1, 0.4, True),
        (0.05, -0.4, -0.1, True),
        (JUST_ABOVE, 0.1, 0.4, False),
        (0.0, 0.1, 0.4, True),
        (0.05, 0.0, 0.4, False),
        (0.05, -0.4, 0.0, False),
        (0.01, -0.1, 0.1, False),
        (float("nan"), 0.1, 0.4, False),
        (None, 0.1, 0.4, False),
        (0.01, float("nan"), float("nan"), False),
        (0.01, None, None, False),
        (0.01, 0.1, float("nan"), False),
    ],
)
def test_shown_needs_a_p_of_at_most_one_in_twenty_and_an_interval_without_zero(
    p: float | None, low: float | None, high: float | None, expected: bool
) -> None:
    row = {"p_adjusted": p, "ci_low": low, "ci_high": high}
    assert significant(row) is expected
    assert significant(pd.Series(row, dtype=object).to_dict()) is expected


def test_an_estimate_that_was_not_made_shows_nothing() -> None:
    assert not significant({})
    assert not excludes_zero({})
    assert not excludes_zero({"ci_low": 0.1})


def test_pages_ask_the_rule_of_the_analysis() -> None:
    assert is_sure is significant


def table_of_two_defenses() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 60
    gap = rng.normal(size=n)
    defense = np.where(np.arange(n) % 2, "AT", "TRADES")
    return pd.DataFrame(
        {
            "model_id": [f"m{i:02d}" for i in range(n)],
            "defense": defense,
            "robust_gap_pgd": gap,
            "pgd_accuracy_train": 0.5 + 0.05 * rng.normal(size=n),
            "pgd_accuracy_test": 0.4 + 0.05 * rng.normal(size=n),
            "average_ce_pgd": rng.normal(size=n),
            "boundary_thickness": np.where(defense == "AT", gap, -gap) + 0.1 * rng.normal(size=n),
            "x_grad_norm_pgd": gap + 0.1 * rng.normal(size=n),
        }
    )


def with_p(analysis: Analysis, p: float) -> Analysis:
    """Return the analysis with this adjusted p everywhere, judged again."""
    rows = analysis.correlations.assign(p_adjusted=p)
    judged = judgements(rows, analysis.measures, analysis.defense, "pgd_accuracy_train", {}, True)
    return replace(analysis, correlations=rows, judgements=pd.DataFrame(judged))


@pytest.mark.parametrize(
    ("p", "shown", "turns"),
    [(ALONE, True, True), (ALPHA, True, False), (JUST_ABOVE, False, False), (float("nan"), False, False)],
)
def test_page_analysis_and_claims_cannot_contradict_each_other(p: float, shown: bool, turns: bool) -> None:
    # Boundary thickness has no tau over all models, so that the stricter test decides inside the defenses.
    table = table_of_two_defenses()
    analysis = with_p(analyze(table, bootstrap=60, permutations=99), p)
    study = Study.of("x", table, analysis)
    judged: dict[str, Any] = analysis.judgements.set_index("measure")["verdict"].to_dict()
    assert is_sure(study.estimate("x_grad_norm_pgd")) is shown
    assert (judged["x_grad_norm_pgd"] == "holds_everywhere") is shown
    assert (judged["boundary_thickness"] == "turns_with_defense") is turns
    assert turning_measures(study) == (["boundary_thickness"] if turns else [])
    claims = judged_claims(analysis).set_index(["claim", "measure"])["verdict"]
    turned = claims["boundary thickness turns with the training method", "boundary_thickness"]
    one_sign = claims["the input gradient norm keeps one sign inside every defense", "x_grad_norm_pgd"]
    more = claims["it says more than average cross-entropy does", "x_grad_norm_pgd"]
    assert turned == ("holds" if turns else "not decided")
    assert [one_sign, more] == (["holds"] * 2 if shown else ["not decided"] * 2)


def test_a_tau_of_residuals_without_a_significant_p_is_explained_away_on_page_and_in_words_alike() -> None:
    def row(statistic: str, axis: str, estimate: float, p: float) -> dict[str, Any]:
        shared = {"measure": "m", "axis": axis, "level": "", "n_models": 50, "p_value": p}
        return shared | {
            "statistic": statistic,
            "estimate": estimate,
            "ci_low": estimate - 0.1,
            "ci_high": estimate + 0.1,
            "p_adjusted": p,
        }

    for p, verdict in ((0.05, "holds_undivided"), (0.06, "explained_by_train_accuracy")):
        rows = pd.DataFrame([row("tau_b", "", 0.6, 0.001), row("residual_tau", "z", 0.2, p)])
        found = judgements(rows, ("m",), None, "z", {})[0]
        assert found["verdict"] == verdict
        assert is_sure(rows.iloc[1].to_dict()) is (verdict == "holds_undivided")


def test_the_error_of_an_adjusted_p_value_grows_with_the_adjustment() -> None:
    """3 of 1,800 permutations, adjusted over 17 measures: 0.028, with a standard error of 0.02 where it matters."""
    row = {"estimate": 0.3, "ci_low": 0.1, "ci_high": 0.5, "p_value": 3 / 1801, "p_adjusted": 0.028}
    assert on_the_edge(row, 2000, 1800, 48)
    assert not on_the_edge(row | {"p_value": 0.02, "p_adjusted": 0.02}, 2000, 1800, 48)  # not adjusted


def test_the_error_of_a_p_value_from_the_normal_tail_is_that_of_its_centre_and_spread() -> None:
    """The centre of 200 permutations is known to 0.07 standard deviations, so that z = 1.96 is 1.96 +- 0.12."""
    row = {"estimate": 0.1, "ci_low": 0.02, "ci_high": 0.18}
    for p, near in ((0.03, True), (0.07, True), (0.005, False), (0.2, False)):
        assert on_the_edge(row | {"p_value": p, "p_adjusted": p}, 2000, 10_000, 1344) is near
    assert not on_the_edge(row | {"p_value": 0.03, "p_adjusted": 0.03}, 2000, 10_000, 48)  # counted among 10,000


def test_a_p_value_far_below_its_bound_is_not_on_the_edge_whatever_the_adjustment() -> None:
    """z = 26 is known to 1.3, and Holm's bound over 18 measures is 2.99."""
    row = {"estimate": -0.65, "ci_low": -0.68, "ci_high": -0.62}
    assert not on_the_edge(row | {"p_value": 3e-155, "p_adjusted": 6e-154}, 2000, 1800, 1344)
    assert not on_the_edge(row | {"p_value": 1e-9, "p_adjusted": 1.8e-8}, 2000, 1800, 1344)
    assert on_the_edge(row | {"p_value": 0.002, "p_adjusted": 0.036}, 2000, 1800, 1344)
    # No permutation of 1,800 is as extreme: p is at most 0.0020, and 0.05 / 18 = 0.0028.
    assert not on_the_edge(row | {"p_value": 1 / 1801, "p_adjusted": 18 / 1801}, 2000, 1800, 48)
    assert on_the_edge(row | {"p_value": 2 / 1801, "p_adjusted": 36 / 1801}, 2000, 1800, 48)


def test_a_gain_near_a_bound_is_on_the_edge() -> None:
    gain = {"gain": 0.084, "ci_low": -0.006, "ci_high": 0.174, "division_error": 0.004, "n_units": 643}
    assert gain_on_the_edge(gain, 0.1, 2000)
    assert not gain_on_the_edge(gain | {"division_error": 0.0}, 0.1, 2000)
    assert gain_on_the_edge(gain | {"ci_low": -0.1, "ci_high": 0.095}, 0.1, 2000)
    assert not gain_on_the_edge(gain | {"ci_low": 0.0, "ci_high": 0.0, "division_error": 0.0}, 0.1, 2000)
    # However little it adds, the lower end decides; where that is surely below 0, the upper one.
    little = gain | {"gain": 0.026, "ci_low": 0.001, "ci_high": 0.05}
    assert gain_on_the_edge(little, 0.1, 2000)
    assert not gain_on_the_edge(little | {"ci_low": -0.03}, 0.1, 2000)
    # Among twenty measures an interval has to be half as wide again, and this one is far from leaving out 0.
    assert not gain_on_the_edge(little | {"division_error": 0.001, "p_value": 0.04, "p_adjusted": 0.8}, 0.1, 2000)


def test_an_end_near_zero_is_on_the_edge_although_the_strata_say_no_by_a_hair() -> None:
    row = {"estimate": 0.1, "ci_low": -0.003, "ci_high": 0.202, "p_value": 0.03, "p_adjusted": 0.034}
    near = {"tau_stratified": 0.102, "stratified_low": -0.001, "stratified_high": 0.205}
    assert on_the_edge(row, 2000, 1800, 1344)
    assert on_the_edge(row | near, 2000, 1800, 1344)
    assert not on_the_edge(row | near | {"stratified_low": -0.1, "stratified_high": 0.1}, 2000, 1800, 1344)
    shown = row | {"ci_low": 0.05}
    assert on_the_edge(shown | near | {"stratified_low": 0.002}, 2000, 1800, 1344)
