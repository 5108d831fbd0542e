"""Every branch of the published claims, on rows written by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from measurebench.stats import judged_claims
from measurebench.stats.judging.claims import COLUMNS
from tests.stats.judging.handmade import NAN, analysis, held, inside, level, row, total


def verdicts(*rows: dict[str, Any], **options: Any) -> dict[tuple[str, str], str]:
    """Return the verdict by the start of the claim and the measure."""
    table = judged_claims(analysis(*rows, **options))
    assert tuple(table.columns) == COLUMNS
    return {
        (claim.split(":")[0], measure): v for claim, measure, v in table[["claim", "measure", "verdict"]].to_numpy()
    }


def claimed(*rows: dict[str, Any], claim: str, measure: str = "", **options: Any) -> str:
    return verdicts(*rows, **options)[claim, measure]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-0.5, 0.5, "holds"), (0.1, 0.2, "not decided"), (0.1, 0.31, "holds"), (0.1, 0.29, "not decided")],
)
def test_the_set_up_matters_where_two_intervals_lie_apart(low: float, high: float, expected: str) -> None:
    rows = [row("m", "tau_within", e, axis="setting_b", level=str(k)) for k, e in enumerate((low, high))]
    assert claimed(*rows, claim="the correlation depends on the training set-up", measure="m") == expected


def test_of_many_levels_two_that_just_lie_apart_may_be_chance() -> None:
    claim = {"claim": "the correlation depends on the training set-up", "measure": "m"}
    two = [row("m", "tau_within", e, axis="setting_b", level=str(k)) for k, e in enumerate((0.1, 0.31))]
    between = [row("m", "tau_within", 0.2, axis="setting_b", level=str(k)) for k in range(2, 9)]
    assert claimed(*two, **claim) == "holds"  # 0.21 is 2.9 standard errors: p = 0.004
    assert claimed(*two, *between, **claim) == "not decided"  # 36 pairs of levels


def test_levels_of_different_settings_are_not_compared_and_levels_without_interval_do_not_count() -> None:
    claim = {"claim": "the correlation depends on the training set-up", "measure": "m"}
    apart = [row("m", "tau_within", e, axis=axis, level="1") for axis, e in (("setting_a", -0.9), ("setting_b", 0.9))]
    assert claimed(*apart, **claim) == "cannot be tested"
    rows = [row("m", "tau_within", e, axis="setting_b", level=str(e), half=h) for e, h in ((-0.9, NAN), (0.9, 0.1))]
    assert claimed(*rows, **claim) == "cannot be tested"


def test_levels_whose_difference_may_be_that_of_their_noise_are_not_decided() -> None:
    """0.3 to 0.5 and 0.6 to 0.8 lie apart; sin(pi tau / 2) / sqrt(R) of the first at R = 0.4 is 0.72 to 1.12.

    That of the second at R = 1 is 0.81 to 0.95.
    """
    claim = {"claim": "the correlation depends on the training set-up", "measure": "m"}
    rows = [row("m", "tau_within", e, axis="setting_b", level=str(k)) for k, e in enumerate((0.4, 0.7))]
    exact = [level("0", 1.0, axis="setting_b"), level("1", 1.0, axis="setting_b")]
    noisy = [level("0", 0.4, axis="setting_b"), level("1", 1.0, axis="setting_b")]
    assert claimed(*rows, levels=exact, **claim) == "holds"
    assert claimed(*rows, levels=noisy, **claim) == "not decided"
    found = judged_claims(analysis(*rows, levels=noisy)).iloc[0]["found"]
    assert found.startswith("setting_b: +0.40 [+0.30, +0.50] at 0 (reliability, estimated lower bound 0.40), +0.70")


def test_a_claim_on_the_edge_names_the_levels_that_another_seed_may_decide_otherwise() -> None:
    rows = [total(GRADIENT, 0.5), inside(GRADIENT, "AT", 0.5), inside(GRADIENT, "X", 0.1, half=0.0999, p=0.04)]
    of = replace(analysis(*rows), provenance={"bootstrap": 2000, "permutations": 1800}, n_models=80)
    edge = judged_claims(of).set_index("claim")["edge"]
    assert edge["the input gradient norm keeps one sign inside every defense"] == "X"
    assert judged_claims(analysis(*rows))["edge"].eq("").all()  # nothing is known of the draws


def test_the_widest_setting_is_told() -> None:
    rows = [
        row("m", "tau_within", e, axis=axis, level=level)
        for axis, parts in (("setting_a", (-0.2, 0.2)), ("setting_b", (-0.5, 0.5)))
        for level, e in zip(("0", "1"), parts, strict=True)
    ]
    table = judged_claims(analysis(*rows)).set_index("claim")
    found = table.loc["the correlation depends on the training set-up", "found"]
    assert found == "setting_b: -0.50 [-0.60, -0.40] at 0, +0.50 [+0.40, +0.60] at 1"


SET_UP = {"claim": "the correlation depends on the training set-up", "measure": "m"}


def test_of_many_measures_two_levels_that_just_lie_apart_may_be_chance() -> None:
    # 0.21 is 2.9 standard errors: p = 0.004, among 40 measures 0.16.
    apart = [row("m", "tau_within", e, axis="setting_b", level=str(k)) for k, e in enumerate((0.1, 0.31))]
    assert claimed(*apart, **SET_UP) == "holds"
    others = [
        row(f"other{k}", "tau_within", e, axis="setting_b", level=str(i))
        for k in range(39)
        for i, e in enumerate((0.1, 0.15))
    ]
    assert claimed(*apart, *others, **SET_UP) == "not decided"


def test_a_pair_of_levels_that_is_shown_is_told_before_one_that_lies_further_apart() -> None:
    wide = [row("m", "tau_within", e, axis="setting_a", level=str(k), half=0.2) for k, e in enumerate((-0.4, 0.04))]
    narrow = [row("m", "tau_within", e, axis="setting_b", level=str(k), half=0.02) for k, e in enumerate((0.1, 0.15))]
    others = [row("n", "tau_within", 0.1, axis="setting_a", level=str(k)) for k in range(9)]
    table = judged_claims(analysis(*wide, *narrow, *others)).set_index(["claim", "measure"])
    assert table.loc[(SET_UP["claim"], "m"), "verdict"] == "holds"
    assert table.loc[(SET_UP["claim"], "m"), "found"].startswith("setting_b: ")


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([level("AT"), level("X")], "holds"),
        ([level("AT", units=6), level("X", units=6)], "not decided"),
        ([level("AT"), level("X", 0.1)], "not decided"),
        ([level("AT"), level("X", NAN)], "holds"),
    ],
)
def test_levels_of_few_runs_or_without_a_reliable_target_do_not_show_that_the_set_up_matters(
    levels: list[dict[str, Any]], expected: str
) -> None:
    assert claimed(inside("m", "AT", 0.8), inside("m", "X", -0.8), **SET_UP, levels=levels) == expected


NOTHING = "no measure holds everywhere"
NOISY = [level("AT"), level("X"), level("Standard", -0.84)]


def test_a_defense_without_a_reliable_target_speaks_neither_for_nor_against() -> None:
    same = [total("m", 0.5), inside("m", "AT", 0.5), inside("m", "X", 0.5), inside("m", "Standard", -0.1, p=0.2)]
    assert claimed(*same, claim=NOTHING) == "holds"
    # The other sign is not shown where the target is unreliable, but nothing says that the measure has it not.
    assert claimed(*same, claim=NOTHING, levels=NOISY) == "not decided"
    one_sign = [*same[:3], inside("m", "Standard", 0.1, p=0.2)]
    assert claimed(*one_sign, claim=NOTHING, levels=NOISY) == "does not hold"
    table = judged_claims(analysis(*same, levels=NOISY)).set_index("claim")
    assert (
        "not counted, for an estimated lower bound of the target's reliability of at most 0.1: Standard"
        in table.loc[NOTHING, "found"]
    )
    # A sign that is shown there still counts: noise makes no association.
    turned = [*same[:3], inside("m", "Standard", -0.5)]
    assert claimed(*turned, claim=NOTHING, levels=NOISY) == "holds"
    one = [level("AT"), level("X", 0.05), level("Standard", -0.84)]
    assert claimed(*same, claim=NOTHING, levels=one) == "not decided"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([total("m", 0.5), inside("m", "AT", 0.5), inside("m", "X", 0.5)], "does not hold"),
        ([total("m", 0.5), inside("m", "AT", 0.5), inside("m", "X", -0.5)], "holds"),
        ([total("m", 0.5), inside("m", "AT", 0.5), inside("m", "X", 0.1)], "holds"),  # surely poor in X
        ([total("m", 0.5), inside("m", "AT", 0.5), inside("m", "X", 0.1, half=0.3)], "not decided"),
        ([total("m", 0.5), inside("m", "AT", 0.5)], "cannot be tested"),
        ([total("m", NAN), inside("m", "AT", NAN), inside("m", "X", NAN)], "not decided"),
    ],
)
def test_one_counterexample_refutes_that_nothing_holds_everywhere(rows: list[Any], expected: str) -> None:
    assert claimed(*rows, claim=NOTHING) == expected


def test_a_measure_without_a_tau_in_one_defense_holds_not_everywhere() -> None:
    other = [total("n", 0.5), inside("n", "AT", 0.1), inside("n", "X", 0.1)]
    rows = [total("m", 0.5), inside("m", "AT", 0.5), inside("m", "X", NAN)]
    assert claimed(*rows, *other, claim=NOTHING) == "not decided"


def test_one_sign_everywhere_is_no_counterexample_where_it_is_surely_poor() -> None:
    rows = [total("m", 0.5), inside("m", "AT", 0.5), inside("m", "X", 0.15)]  # shown in X, but below 0.3
    found = judged_claims(analysis(*rows)).set_index("claim").loc[NOTHING]
    assert found["verdict"] == "holds"
    assert "inside AT and X, and nowhere surely poor or of another sign: none; surely poor" in found["found"]
    assert found["found"].endswith("or of another sign, somewhere: 1 of 1")


@pytest.mark.parametrize(
    ("estimate", "p", "expected"),
    [(0.5, 0.01, "holds"), (-0.5, 0.01, "does not hold"), (0.5, 0.2, "not decided"), (0.5, NAN, "not decided")],
)
def test_folklore_is_judged_by_the_sign_that_is_shown(estimate: float, p: float, expected: str) -> None:
    margins, smooth = "larger margins go with a larger gap", "smoother functions go with a larger gap"
    assert claimed(total("prob_margin_pgd", estimate, p=p), claim=margins, measure="prob_margin_pgd") == expected
    assert claimed(total("local_lip", -estimate, p=p), claim=smooth, measure="local_lip") == expected
    absent = claimed(total("local_lip", 0.5), claim=margins, measure="average_ce_pgd")
    assert absent == "cannot be tested"


@pytest.mark.parametrize(
    ("estimate", "half", "expected"),
    [
        (0.1, 0.1, "holds"),
        (0.25, 0.1, "not decided"),
        (0.5, 0.1, "does not hold"),
        (-0.5, 0.1, "does not hold"),
        (0.4, 0.1, "does not hold"),
        (0.0, 0.5, "not decided"),
    ],
)
def test_flatness_is_poor_where_the_interval_says_so(estimate: float, half: float, expected: str) -> None:
    name = "average_flat_pgd"
    found = claimed(total(name, estimate, half=half), claim="flatness correlates poorly", measure=name)
    assert found == expected


@pytest.mark.parametrize(("estimate", "expected"), [(-0.5, "holds"), (0.5, "does not hold"), (0.05, "not decided")])
def test_sharper_minima_with_the_smaller_gap(estimate: float, expected: str) -> None:
    name = "estimated_sharpness_pgd"
    assert claimed(total(name, estimate), claim="sharper minima can have the smaller gap", measure=name) == expected


GRADIENT = "x_grad_norm_pgd"
ONE_SIGN = "the input gradient norm keeps one sign inside every defense"
MORE = "it says more than average cross-entropy does"
STEADY = "it is the most consistent measure"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"estimate": 0.5}, {"estimate": 0.5}, "holds"),
        ({"estimate": 0.5}, {"estimate": -0.5}, "does not hold"),
        ({"estimate": 0.5}, {"estimate": 0.5, "p": 0.2}, "not decided"),
        ({"estimate": 0.5}, {"estimate": NAN}, "not decided"),
    ],
)
def test_the_gradient_keeps_its_sign(first: dict[str, Any], second: dict[str, Any], expected: str) -> None:
    rows = [inside(GRADIENT, "AT", **first), inside(GRADIENT, "X", **second)]
    assert claimed(*rows, claim=ONE_SIGN, measure=GRADIENT) == expected


@pytest.mark.parametrize(
    ("partial", "p", "expected"),
    [(0.3, 0.05, "holds"), (-0.3, 0.01, "holds"), (0.05, 0.01, "not decided"), (0.3, 0.06, "not decided")],
)
def test_more_than_cross_entropy_needs_a_tau_of_residuals_that_is_shown(
    partial: float, p: float, expected: str
) -> None:
    rows = [inside(GRADIENT, "AT", 0.5), held(GRADIENT, partial, "average_ce_pgd", p=p)]
    assert claimed(*rows, claim=MORE, measure=GRADIENT) == expected
    assert claimed(rows[0], claim=MORE, measure=GRADIENT) == "cannot be tested"


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        ((0.6, 0.6), (0.1, 0.1), "holds"),
        ((0.6, 0.6), (0.5, 0.5), "not decided"),
        ((0.1, 0.1), (0.6, 0.6), "does not hold"),
        ((0.6, -0.6), (0.1, 0.1), "not decided"),
        ((0.6, 0.6), (0.9, -0.9), "holds"),
        ((0.05, 0.05), (0.9, -0.9), "not decided"),
        ((-0.6, -0.6), (0.1, 0.2), "holds"),
    ],
)
def test_the_most_consistent_measure_has_the_largest_weakest_tau(own: Any, other: Any, expected: str) -> None:
    rows = [
        inside(name, level, e)
        for name, pair in ((GRADIENT, own), ("other", other))
        for level, e in zip(("AT", "X"), pair, strict=True)
    ]
    assert claimed(*rows, claim=STEADY, measure=GRADIENT) == expected


def test_a_place_is_told_with_its_ties_and_a_change_of_sign_counts_as_zero() -> None:
    taus = {GRADIENT: (0.5, -0.3), "first": (0.6, 0.5), "second": (0.4, 0.3), "third": (0.7, -0.7)}
    rows = [inside(name, d, e) for name, pair in taus.items() for d, e in zip(("AT", "X"), pair, strict=True)]
    found = judged_claims(analysis(*rows)).set_index("claim").loc[STEADY]
    assert found["found"] == (
        "place 3 of 4, tied with 1, by the weakest tau inside a defense, 0 (a change of sign counts as 0); "
        "first is first, 0.50 [0.40, 0.60]"
    )
    assert (found["estimate"], found["n_models"], found["verdict"]) == (0.0, 80, "does not hold")
    assert np.isnan([found["ci_low"], found["ci_high"]]).all()


def test_a_weakest_tau_that_is_not_known_is_neither_beaten_nor_surely_smaller() -> None:
    other = [inside("other", "AT", 0.6), inside("other", "X", 0.6)]
    unknown = [inside(GRADIENT, "AT", 0.1), inside(GRADIENT, "X", 0.1, half=NAN)]
    assert claimed(*other, *unknown, claim=STEADY, measure=GRADIENT) == "not decided"
    known = [inside(GRADIENT, "AT", 0.6), inside(GRADIENT, "X", 0.6)]
    open_other = [inside("other", "AT", 0.1), inside("other", "X", 0.1, half=NAN)]
    assert claimed(*known, *open_other, claim=STEADY, measure=GRADIENT) == "not decided"


def test_a_defense_without_a_reliable_target_does_not_break_the_gradient_s_sign() -> None:
    rows = [inside(GRADIENT, "AT", 0.5), inside(GRADIENT, "X", 0.5), inside(GRADIENT, "Standard", -0.1, p=0.2)]
    assert claimed(*rows, claim=ONE_SIGN, measure=GRADIENT) == "not decided"
    # Whether Standard has the other sign, nobody knows: that its target is unreliable does not say that it has not.
    assert claimed(*rows, claim=ONE_SIGN, measure=GRADIENT, levels=NOISY) == "not decided"
    rows[2] = inside(GRADIENT, "Standard", 0.1, p=0.2)
    assert claimed(*rows, claim=ONE_SIGN, measure=GRADIENT, levels=NOISY) == "holds"
    found = judged_claims(analysis(*rows, levels=NOISY)).set_index("claim")["found"]
    assert "Standard +0.10 [+0.00, +0.20]; not counted, for an estimated lower bound" in found[ONE_SIGN]
    assert found[STEADY].startswith("place 1 of 1 by the weakest tau inside a defense, 0.50 [0.40, 0.60]; not counted")


def test_a_tau_of_residuals_that_turns_is_told_beside_tau() -> None:
    rows = [inside(GRADIENT, "AT", 0.5), held(GRADIENT, -0.08, "average_ce_pgd", half=0.03)]
    found = judged_claims(analysis(total(GRADIENT, 0.1, half=0.05), *rows)).set_index("claim").loc[MORE]
    assert found["verdict"] == "not decided"
    assert found["found"] == (
        "-0.08 [-0.11, -0.05] with average cross-entropy held fixed: the sign turns, tau is +0.10 [+0.05, +0.15]"
    )
    same = judged_claims(analysis(total(GRADIENT, -0.1), *rows)).set_index("claim").loc[MORE]
    assert same["found"] == "-0.08 [-0.11, -0.05]"
    unsure = [rows[0], held(GRADIENT, -0.04, "average_ce_pgd", p=0.5)]
    chance = judged_claims(analysis(total(GRADIENT, 0.02), *unsure)).set_index("claim").loc[MORE]
    assert "turns" not in chance["found"]


def test_a_measure_alone_is_not_shown_to_be_the_most_consistent() -> None:
    assert (
        claimed(inside(GRADIENT, "AT", 0.6), inside(GRADIENT, "X", 0.6), claim=STEADY, measure=GRADIENT)
        == "not decided"
    )


TURNS = "boundary thickness turns with the training method"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"estimate": 0.5}, {"estimate": -0.5}, "holds"),
        ({"estimate": 0.5}, {"estimate": 0.5}, "does not hold"),
        ({"estimate": 0.5}, {"estimate": 0.05}, "not decided"),
        ({"estimate": 0.5, "p": 0.2}, {"estimate": -0.5}, "not decided"),
    ],
)
def test_boundary_thickness_turns_where_both_signs_are_shown(first: Any, second: Any, expected: str) -> None:
    rows = [inside("boundary_thickness", "AT", **first), inside("boundary_thickness", "X", **second)]
    assert claimed(*rows, claim=TURNS, measure="boundary_thickness") == expected


def test_claims_about_defenses_cannot_be_tested_without_any() -> None:
    rows = [total(GRADIENT, 0.5), total("boundary_thickness", 0.5)]
    found = verdicts(*rows, defense=None)
    assert found[ONE_SIGN, GRADIENT] == found[TURNS, "boundary_thickness"] == found[NOTHING, ""] == "cannot be tested"


def test_another_target_tests_no_claim() -> None:
    table = judged_claims(analysis(total("m", 0.5), target="clean_accuracy_test"))
    assert table["verdict"].tolist() == ["cannot be tested"]
    assert table["found"].tolist() == ["the target is clean_accuracy_test"]


def test_a_row_carries_the_number_that_decides_it() -> None:
    table = judged_claims(analysis(total("local_lip", -0.5))).set_index("measure")
    found: pd.Series = table[table["verdict"] == "holds"].loc["local_lip"]
    assert (found["estimate"], found["ci_low"], found["ci_high"], found["n_models"]) == (-0.5, -0.6, -0.4, 80)
    assert found["found"] == "-0.50 [-0.60, -0.40]"


def test_the_edge_of_a_claim_is_at_the_bound_that_decides_it() -> None:
    def edge(*rows: dict[str, Any], claim: str) -> str:
        of = replace(analysis(*rows), provenance={"bootstrap": 2000, "permutations": 1800}, n_models=1000)
        return str(judged_claims(of).set_index("claim").loc[claim, "edge"])

    poor = "flatness correlates poorly: tau between -0.3 and 0.3"
    flat = {"measure": "average_flat_pgd", "axis": ""}
    for estimate, named in ((0.2, "all models"), (0.0, ""), (0.5, "")):  # 0.1 to 0.3, and far from 0.3
        of = replace(analysis(total(flat["measure"], estimate)), provenance={"bootstrap": 2000, "permutations": 1800})
        found = judged_claims(of)
        assert found[(found["claim"] == poor) & (found["measure"] == flat["measure"])]["edge"].tolist() == [named]
    one_sign = "the input gradient norm keeps one sign inside every defense"
    near = inside(GRADIENT, "X", 0.5, p=0.00096)
    assert edge(total(GRADIENT, 0.05), inside(GRADIENT, "AT", 0.5), near, claim=one_sign) == "AT, X"  # 0.001 decides
    assert edge(total(GRADIENT, 0.5), inside(GRADIENT, "AT", 0.5), near, claim=one_sign) == ""  # 0.05 decides
