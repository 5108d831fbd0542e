"""Every branch of the judgement, on rows written by hand."""

from typing import Any

import pandas as pd
import pytest

from measurebench.core.info import MeasureInfo
from measurebench.stats.judging.judgements import VERDICTS, judgements
from measurebench.stats.judging.power import detectable_tau
from measurebench.stats.judging.verdict import row_words, verdict_words
from tests.stats.judging.handmade import NAN, held, inside, total

SURE: dict[str, Any] = {}
UNSURE: dict[str, Any] = {"p": 0.4}


def judged(*rows: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Judge the measure m, whose defenses are in the column defense and whose control is z."""
    given = {"defense": "defense", "control": "z", "infos": {}} | options
    return judgements(pd.DataFrame(list(rows)), ("m",), **given)[0]


@pytest.mark.parametrize(
    ("verdict", "rows"),
    [
        ("undetermined", [inside("m", "AT", 0.5)]),
        ("undetermined", [total("m", NAN)]),
        ("unknown", [total("m", 0.5, **UNSURE)]),
        ("unknown", [total("m", 0.05)]),
        ("unknown", [total("m", 0.05), inside("m", "AT", 0.5, **UNSURE), inside("m", "MART", 0.05)]),
        ("within_defenses_only", [total("m", 0.05), inside("m", "AT", 0.5), inside("m", "MART", 0.05)]),
        ("within_defenses_only", [total("m", 0.05), inside("m", "AT", 0.5, p=0.001)]),
        ("unknown", [total("m", 0.05), inside("m", "AT", 0.5, p=0.02)]),
        ("unknown", [total("m", 0.05), inside("m", "AT", 0.5, p=0.02), inside("m", "MART", -0.5, p=0.02)]),
        ("holds_overall", [total("m", 0.5), inside("m", "AT", 0.5, p=0.02), inside("m", "MART", 0.01)]),
        ("turns_with_defense", [total("m", 0.05), inside("m", "AT", 0.5), inside("m", "MART", -0.5)]),
        ("turns_with_defense", [total("m", 0.5), inside("m", "AT", -0.5), inside("m", "MART", -0.5)]),
        ("turns_with_defense", [total("m", 0.5), inside("m", "AT", -0.5), inside("m", "MART", 0.01)]),
        ("turns_with_train_accuracy", [total("m", 0.5), held("m", -0.3)]),
        ("turns_with_train_accuracy", [total("m", -0.18), held("m", 0.10, half=0.05)]),
        (
            "explained_by_train_accuracy",
            [total("m", 0.1, half=0.05), held("m", -0.08)],
        ),  # turned, but that is not shown
        ("holds_undivided", [total("m", 0.5)]),
        ("holds_everywhere", [total("m", 0.5), inside("m", "AT", 0.5), inside("m", "MART", 0.4)]),
        ("holds_overall", [total("m", 0.5), inside("m", "AT", 0.5), inside("m", "MART", 0.4, **UNSURE)]),
        ("holds_overall", [total("m", 0.5), inside("m", "AT", 0.5)]),
        ("holds_overall", [total("m", 0.5), inside("m", "AT", 0.5), inside("m", "MART", 0.4), inside("m", "X", NAN)]),
        ("between_defenses_only", [total("m", 0.5), inside("m", "AT", 0.02), inside("m", "MART", 0.4, **UNSURE)]),
        ("explained_by_train_accuracy", [total("m", 0.5), held("m", 0.05)]),
        ("explained_by_train_accuracy", [total("m", 0.5), held("m", 0.2, **UNSURE)]),
        ("explained_by_train_accuracy", [total("m", -0.5), held("m", 0.0)]),
        ("holds_undivided", [total("m", 0.5), held("m", 0.2)]),
        ("holds_undivided", [total("m", 0.5), held("m", 0.3, **UNSURE)]),
        ("holds_undivided", [total("m", 0.5), held("m", NAN)]),
        ("holds_undivided", [total("m", 0.5), held("m", 0.05, half=NAN)]),
        ("turns_with_defense", [total("m", 0.5), held("m", 0.0), inside("m", "AT", 0.5), inside("m", "X", -0.5)]),
    ],
)
def test_the_verdict_follows_from_the_rows(verdict: str, rows: list[dict[str, Any]]) -> None:
    found = judged(*rows)
    assert found["verdict"] == verdict
    expected = "cannot be judged" if verdict == "undetermined" else row_words(found)
    assert expected in found["sentence"]


def test_a_defense_that_is_shown_by_itself_alone_is_told_so() -> None:
    # Nothing is shown over all models, so that 5 % inside a defense are not enough (see the calibration).
    sentence = judged(total("m", 0.05), inside("m", "AT", 0.5, p=0.02), inside("m", "MART", 0.3, p=0.5))["sentence"]
    assert "AT +0.50 (shown by itself, but not surely enough where nothing is over all models)" in sentence
    assert "MART +0.30 (not shown)" in sentence


@pytest.mark.parametrize(("n", "verdict"), [(12, "holds_untested_inside"), (200, "between_defenses_only")])
def test_a_defense_speaks_against_a_measure_only_if_it_could_have_shown_as_much(n: int, verdict: str) -> None:
    # 12 units show a tau of 0.58 four times in five, 200 units one of 0.13: tau over all models is 0.5.
    assert detectable_tau(12, 0.05) > 0.5 > detectable_tau(200, 0.05)
    rows = [total("m", 0.5) | {"n_models": 400}]
    rows += [inside("m", name, 0.1, p=0.5) | {"n_models": n} for name in ("A", "B")]
    power = [{"level": "", "n_units": 400, "alpha": 0.05}]
    power += [{"level": name, "n_units": n, "alpha": 0.05} for name in ("A", "B")]
    assert judged(*rows, power=power)["verdict"] == verdict


@pytest.mark.parametrize(
    ("gain", "units", "verdict"),
    [
        ((0.02, -0.03, 0.05), 400, "tells_settings"),
        ((0.02, -0.03, 0.05), 30, "untested_beside_settings"),  # 0.05 + 2 / 30 is above 0.1
        ((0.0, 0.0, 0.0), 12, "tells_settings"),  # the settings determine the measure
        ((0.08, 0.03, 0.12), 30, "holds_undivided"),
    ],
)
def test_what_a_slope_costs_is_allowed_for_before_a_measure_is_said_to_tell_what_the_settings_tell(
    gain: tuple[float, float, float], units: int, verdict: str
) -> None:
    added = {"m": dict(zip(("gain", "ci_low", "ci_high"), gain, strict=True))}
    power = [{"level": "", "n_units": units, "alpha": 0.05}]
    assert judged(total("m", 0.5) | {"n_models": units}, added=added, power=power)["verdict"] == verdict


@pytest.mark.parametrize(
    ("gain", "told"),
    [
        ((0.0, 0.0, 0.0), "The settings determine it, so that it adds nothing to them."),
        ((2e-15, NAN, NAN), "The settings determine it, so that it adds nothing to them."),
        (
            (-0.004, -0.006, -0.0004),
            "it raises the squared error on held-out runs by 0.4 % [0.04 %, 0.6 %], which is no gain; a gain of",
        ),
        (
            (-0.0001, -0.03, 0.02),
            "Beside the settings, with one curve for all models, it raises the squared error on held-out runs by 0.01 "
            "% [-2.0 %, 3.0 %], which cannot be told from nothing; a gain of 10 %, the margin, is ruled out.",
        ),
        (
            (-0.207, -0.4, 0.03),
            "it raises the squared error on held-out runs by 20.7 % [-3.0 %, 40.0 %], which cannot be told from "
            "nothing; a gain of 10 %, the margin, is ruled out.",
        ),
        (
            (0.05, -0.01, 0.2),
            "[-1.0 %, 20.0 %], which cannot be told from nothing; nor is a gain of 10 %, the margin, ruled out.",
        ),
        ((0.05, 0.01, 0.09), "by 5.0 % [1.0 %, 9.0 %], which is less than the margin of 10 %."),
        ((0.15, 0.01, 0.3), "lowers the squared error on held-out runs by 15.0 % [1.0 %, 30.0 %]."),
    ],
)
def test_what_a_measure_adds_is_told_by_the_side_of_its_interval(gain: tuple[float, ...], told: str) -> None:
    # A change of sign is told before the settings, so that the verdict does not tell the slope and the margin.
    added = {"m": dict(zip(("gain", "ci_low", "ci_high"), gain, strict=True))}
    assert told in judged(total("m", 0.5), inside("m", "AT", -0.5), added=added)["sentence"]


def test_one_opposite_defense_is_named_and_no_reversal() -> None:
    # One defense alone shows something: the sign differs from that over all models, and from no other defense.
    found = judged(total("m", -0.4), inside("m", "TRADES", 0.4), inside("m", "X", 0.1, **UNSURE))
    assert (found["verdict"], found["reversal"], found["opposite"]) == ("turns_with_defense", False, "TRADES")
    assert found["sentence"].startswith("m has the opposite sign inside TRADES: tau_b = -0.40")
    assert "from one defense to another" not in found["sentence"]
    assert "Simpson" not in found["sentence"]


def test_a_gain_that_is_not_ruled_out_is_that_which_was_compared() -> None:
    """With 24 units the upper end must lie below 0.1 - 2 / 24 = 1.7 %."""
    added = {"m": {"gain": -0.083, "ci_low": -0.178, "ci_high": 0.021}}
    power = [{"level": "", "n_units": 24, "alpha": 0.05}]
    found = judged(total("m", 0.5), inside("m", "AT", -0.5), added=added, power=power)["sentence"]
    told = "nor is a gain of 1.7 % ruled out (the margin of 10 %, less the cost of a curve from 24 units)"
    assert told in found


def test_a_measure_holds_if_it_is_shown_to_add_something_however_surely_little() -> None:
    # A narrower interval about the same gain must not take back what a wider one showed.
    for high in (0.12, 0.078):
        added = {"m": {"gain": 0.04, "ci_low": 0.002, "ci_high": high}}
        found = judged(total("m", 0.5), inside("m", "AT", 0.5), inside("m", "X", 0.5), added=added)
        assert found["verdict"] == "holds_everywhere"
        assert ("which is less than the margin of 10 %" in found["sentence"]) == (high < 0.1)
    added = {"m": {"gain": 0.04, "ci_low": -0.003, "ci_high": 0.078}}
    assert judged(total("m", 0.5), inside("m", "AT", 0.5), added=added)["verdict"] == "tells_settings"


def test_what_a_measure_adds_is_shown_only_among_so_many_measures() -> None:
    gain = {"gain": 0.05, "ci_low": 0.002, "ci_high": 0.098, "p_value": 0.04}
    for p, high, verdict in (
        (0.05, 0.098, "holds_undivided"),
        (0.2, 0.098, "tells_settings"),
        (0.2, 0.12, "untested_beside_settings"),
    ):
        found = judged(total("m", 0.5), added={"m": gain | {"ci_high": high, "p_adjusted": p}})
        assert found["verdict"] == verdict
        assert ("which is not shown among so many measures" in found["sentence"]) == (p > 0.05)


def test_a_sign_inside_a_defense_must_stand_with_the_settings_that_divide_runs_held_fixed() -> None:
    strata = {"tau_stratified": -0.04, "stratified_low": -0.15, "stratified_high": 0.07}
    rows, other = (total("m", 0.5), inside("m", "AT", 0.5)), inside("m", "X", -0.2, half=0.05)
    found = judged(*rows, other | strata)
    assert found["verdict"] == "holds_overall"
    assert "X -0.20 (not shown with the settings that divide runs held fixed)" in found["sentence"]
    surely = strata | {"tau_stratified": -0.14, "stratified_low": -0.24, "stratified_high": -0.04}
    assert judged(*rows, other | surely)["verdict"] == "turns_with_defense"
    # Without an interval, of few runs, the sign decides.
    few = {"tau_stratified": 0.1, "stratified_low": NAN, "stratified_high": NAN}
    assert judged(*rows, other | few)["verdict"] == "holds_overall"
    assert judged(*rows, other | few | {"tau_stratified": -0.1})["verdict"] == "turns_with_defense"


def test_a_judgement_of_an_earlier_version_keeps_its_words() -> None:
    old = {"verdict": "turns_with_defense", "reversal": True, "opposite": NAN}
    assert row_words(old) == "has the opposite sign inside defenses"
    assert row_words({"verdict": "turns_with_defense", "reversal": False}) == verdict_words("turns_with_defense")


def test_what_train_accuracy_leaves_is_not_told_as_a_cause() -> None:
    # Training accuracy is a part of the gap, so that holding it fixed explains nothing by itself.
    left = judged(total("m", 0.5), held("m", 0.05))["sentence"]
    assert left.startswith("m keeps less than half of tau with train robust accuracy, which is a part of the gap, held")
    turned = judged(total("m", -0.18), held("m", 0.10, half=0.05))["sentence"]
    assert turned.startswith(
        "m has the opposite sign with train robust accuracy, which is a part of the gap, held fixed"
    )
    assert "With train robust accuracy held fixed, tau turns from -0.18 to +0.10 [+0.05, +0.15]." in turned
    open_sign = judged(total("m", 0.1, half=0.05), held("m", -0.02))["sentence"]
    assert "tau is -0.02 [-0.12, +0.08], whose change of sign is not shown." in open_sign
    assert not any("explained" in text for text in (left, turned, open_sign, *VERDICTS.values()))


def test_a_measure_that_tells_what_the_settings_tell_is_said_to_be_so_with_one_slope_and_a_margin() -> None:
    sentence = judged(total("m", 0.5), added={"m": NONE})["sentence"]
    words = "lowers the squared error beside the settings by less than 10 %, if at all, with one curve for all models"
    assert sentence.startswith(f"m {words}: tau_b = +0.50")


def test_the_verdicts_are_tried_in_the_order_that_is_documented() -> None:
    # Opposite signs before the settings, these before train accuracy, and this before where it holds.
    turns = [inside("m", "AT", 0.5), inside("m", "X", -0.5)]
    same = [inside("m", "AT", 0.5), inside("m", "X", 0.5)]
    turned, nothing = held("m", -0.3), {"added": {"m": NONE}}
    assert judged(total("m", 0.5), *turns, turned, **nothing)["verdict"] == "turns_with_defense"
    assert judged(total("m", 0.5), *same, turned, **nothing)["verdict"] == "tells_settings"
    assert judged(total("m", 0.5), *same, turned)["verdict"] == "turns_with_train_accuracy"
    assert judged(total("m", 0.5), *same)["verdict"] == "holds_everywhere"


def test_every_verdict_has_words_that_are_no_riddle() -> None:
    assert len(set(VERDICTS.values())) == len(VERDICTS) == 16
    assert all(
        text.split()[0] in {"holds", "changes", "has", "keeps", "lowers", "is", "shows", "cannot"}
        for text in VERDICTS.values()
    )


POWER = [{"level": "", "n_units": 48, "alpha": 0.05}, *({"level": d, "n_units": 3, "alpha": 0.05} for d in "ABC")]
FEW = {"half": NAN, "p": 0.4, "n": 3}
GAIN = {"gain": 0.1, "ci_low": 0.05, "ci_high": 0.2, "reason": ""}
NONE = {"gain": 0.01, "ci_low": -0.02, "ci_high": 0.04, "reason": ""}
UNKNOWN = {"gain": NAN, "ci_low": NAN, "ci_high": NAN, "reason": "3 runs are too few"}
DEFENSES = [inside("m", d, 0.9, **FEW) for d in "ABC"]


@pytest.mark.parametrize(
    ("verdict", "rows", "options"),
    [
        # 27 published models, 9 methods of 3 each: nothing could have been shown inside a method.
        ("holds_untested_inside", [total("m", 0.5), *DEFENSES], {"added": {"m": GAIN}, "power": POWER}),
        ("between_defenses_only", [total("m", 0.5), *DEFENSES], {"added": {"m": GAIN}}),
        ("tells_settings", [total("m", 0.5), *DEFENSES], {"added": {"m": NONE}, "power": POWER}),
        ("untested_beside_settings", [total("m", 0.5), *DEFENSES], {"added": {"m": UNKNOWN}}),
        ("untested_beside_settings", [total("m", 0.5)], {"added": {"m": NONE | {"ci_high": 0.2}}}),
        ("tells_settings", [total("m", 0.5), held("m", 0.0)], {"added": {"m": NONE}}),
        ("turns_with_defense", [total("m", 0.5), inside("m", "A", -0.5)], {"added": {"m": NONE}}),
        ("small", [total("m", 0.02, half=0.05, **UNSURE)], {}),
        ("unknown", [total("m", 0.02, half=0.05, **UNSURE)], {"margin": 0.05}),
        ("unknown", [total("m", 0.2, **UNSURE)], {"power": POWER}),
        ("underpowered", [total("m", 0.2, **UNSURE)], {"power": [{"level": "", "n_units": 8, "alpha": 0.01}]}),
        ("too_few", [total("m", 1.0, half=NAN, p=NAN)], {"power": [{"level": "", "n_units": 2, "alpha": 0.05}]}),
        ("too_few", [total("m", NAN)], {"power": [{"level": "", "n_units": 2, "alpha": 0.05}]}),
        ("undetermined", [total("m", NAN)], {"power": POWER}),
        ("holds_undivided", [total("m", 1.0, half=NAN)], {"power": POWER}),  # decided by p
    ],
)
def test_what_could_have_been_shown_decides_the_words(verdict: str, rows: list, options: dict) -> None:
    found = judged(*rows, **options)
    assert found["verdict"] == verdict
    assert "cannot be judged" in found["sentence"] or row_words(found) in found["sentence"]


def test_the_sentence_says_what_a_defense_could_have_shown() -> None:
    rows = [total("m", 0.5), inside("m", "A", 0.9, **FEW), inside("m", "X", 0.1, **UNSURE)]
    power = [{"level": d, "n_units": n, "alpha": 0.05} for d, n in (("", 48), ("A", 3), ("X", 40))]
    found = judged(*rows, power=power)
    assert "A +0.90 (too few to show anything), X +0.10 (not shown). " in found["sentence"]
    assert "An association of 0.30 in X would be shown in about four of five such tables." in found["sentence"]
    assert found["detectable_tau"] == pytest.approx(detectable_tau(48, 0.05))


def test_below_twelve_runs_no_tau_is_said_to_be_detectable() -> None:
    rows = [total("m", 0.5), inside("m", "A", 0.3, **UNSURE), inside("m", "X", 0.1, **UNSURE)]
    power = [{"level": d, "n_units": n, "alpha": 0.05} for d, n in (("", 48), ("A", 6), ("X", 6))]
    found = judged(*rows, power=power)
    assert "A +0.30 (not shown), X +0.10 (not shown). " in found["sentence"]
    assert "Inside A and X there are too few runs to say what would be shown." in found["sentence"]
    assert "four of five" not in found["sentence"]
    assert found["verdict"] == "holds_untested_inside"  # of which defense could have shown 0.5 nothing is known
    few = judged(total("m", 0.2, **UNSURE) | {"n_models": 8}, power=[{"level": "", "n_units": 8, "alpha": 0.05}])
    assert "There are too few runs to say what would be shown." in few["sentence"]
    assert few["detectable_tau"] != few["detectable_tau"]


def test_a_defense_of_as_many_runs_as_one_that_shows_something_is_not_too_few_to_show_anything() -> None:
    # Six units reach p = 2/720 at best: enough to be shown by itself, and not where nothing is shown over all models.
    rows = [total("m", 0.05), inside("m", "A", 0.9, p=0.05), inside("m", "X", 0.3, **UNSURE)]
    power = [{"level": "", "n_units": 24, "alpha": 0.003}]
    power += [{"level": d, "n_units": 6, "alpha": 0.003, "alpha_alone": 1e-5} for d in "AX"]
    sentence = judged(*rows, power=power)["sentence"]
    assert (
        "A +0.90 (shown by itself, but not surely enough where nothing is over all models), X +0.30 (not sh" in sentence
    )
    assert "Inside X there are too few runs to say what would be shown." in sentence


def test_the_level_inside_defenses_is_that_of_their_own_test() -> None:
    # 30 units show a tau of 0.36 at 0.05 and of 0.43 at 0.01, but one of 0.48 at 0.05 / 18.
    rows = [inside("m", "A", 0.1, **UNSURE)]
    power = [
        {"level": "", "n_units": 400, "alpha": 0.05 / 18, "alpha_alone": 0.05 / 18},
        {"level": "A", "n_units": 30, "alpha": 0.05, "alpha_alone": 0.01},
    ]
    for whole, alpha in ((total("m", 0.4) | {"n_models": 400}, 0.05), (total("m", 0.04) | {"n_models": 400}, 0.01)):
        told = f"An association of {detectable_tau(30, alpha):.2f} in A would be shown"
        assert told in judged(whole, *rows, power=power)["sentence"]
    assert judged(total("m", 0.4) | {"n_models": 400}, *rows, power=power)["verdict"] == "between_defenses_only"
    power[1]["alpha"] = 0.05 / 18
    assert judged(total("m", 0.4) | {"n_models": 400}, *rows, power=power)["verdict"] == "holds_untested_inside"


def test_the_sentence_says_what_the_measure_adds_to_the_settings() -> None:
    assert (
        "squared error on held-out runs by 10.0 % [5.0 %, 20.0 %]."
        in judged(total("m", 0.5), added={"m": GAIN})["sentence"]
    )
    assert (
        "Beside the settings it lowers the squared error on held-out runs by 1.0 % [-2.0 %, 4.0 %], which cannot"
        in judged(total("m", 0.5), added={"m": NONE})["sentence"]
    )
    found = judged(total("m", 0.5), added={"m": UNKNOWN})
    assert "What it adds to the settings is unknown: 3 runs are too few." in found["sentence"]
    assert judged(total("m", 0.5), added={"m": GAIN})["added"] == 0.1


def test_a_judgement_on_the_edge_says_so() -> None:
    near = inside("m", "MART", 0.1, half=0.0999)
    found = judged(total("m", 0.5), inside("m", "AT", 0.5), near, draws=(2000, 1000))
    assert found["edge"] == "MART"
    assert "another seed of the resampling may decide MART otherwise" in found["sentence"]
    assert judged(total("m", 0.5), inside("m", "AT", 0.5), draws=(2000, 1000))["edge"] == ""


def test_a_reversal_needs_two_defenses_against_the_whole_and_none_with_it() -> None:
    two = [inside("m", "AT", -0.5), inside("m", "MART", -0.5)]
    found = judged(total("m", 0.5), *two)
    assert (found["reversal"], found["opposite"]) == (True, "AT, MART")
    assert "m has the opposite sign inside AT and MART: " in found["sentence"]
    assert "Simpson reversal: AT and MART show the opposite sign, and no defense shows that over" in found["sentence"]
    assert not judged(total("m", 0.5), two[0])["reversal"]
    assert not judged(total("m", 0.5), *two, inside("m", "X", 0.5))["reversal"]
    assert not judged(total("m", 0.05), *two)["reversal"]


def test_numbers_intervals_and_p_values_stand_in_the_sentence() -> None:
    found = judged(total("m", 0.5, p=0.0004), inside("m", "AT", 0.5), inside("m", "MART", NAN), inside("m", "X", 0.02))
    assert "tau_b = +0.50 [+0.40, +0.60] over 80 models (Holm p < 0.001)." in found["sentence"]
    assert "Inside the defenses: AT +0.50, MART undefined, X +0.02 (not shown)." in found["sentence"]
    assert (found["tau_b"], found["ci_low"], found["ci_high"], found["n_models"]) == (0.5, 0.4, 0.6, 80)


def test_a_missing_p_or_interval_is_told_or_left_out() -> None:
    assert "(no p-value)" in judged(total("m", 0.5, p=NAN))["sentence"]
    assert "tau_b = +0.50 over 80 models" in judged(total("m", 0.5, half=NAN))["sentence"]


@pytest.mark.parametrize(
    ("raw", "adjusted", "words"),
    [
        (
            0.02,
            0.3,
            "Taken alone it would be shown (p = 0.020, and its pointwise interval leaves out zero), but not among",
        ),
        (0.3, 0.3, "The pointwise interval leaves out zero, but randomly exchanged values do as well (p = 0.300)."),
    ],
)
def test_why_an_interval_without_zero_shows_nothing_is_told(raw: float, adjusted: float, words: str) -> None:
    rows = total("m", 0.5) | {"p_value": raw, "p_adjusted": adjusted}
    assert words in judged(rows)["sentence"]
    assert "alone" not in judged(total("m", 0.05, p=0.3))["sentence"]


def test_the_control_is_told_with_its_interval_or_its_absence() -> None:
    assert "Train robust accuracy is not in the table" in judged(total("m", 0.5), control=None)["sentence"]
    found = judged(total("m", 0.5), held("m", 0.4))
    assert "With train robust accuracy held fixed, tau is +0.40 [+0.30, +0.50]." in found["sentence"]
    assert found["residual_tau"] == 0.4
    assert "held fixed" not in judged(total("m", 0.5))["sentence"]


def test_without_defenses_there_is_nothing_to_compare() -> None:
    found = judged(total("m", 0.5), inside("m", "AT", 0.5), defense=None)
    assert found["verdict"] == "holds_undivided"
    assert "There are no defenses to compare." in found["sentence"]


def info(hypothesis: Any) -> dict[str, MeasureInfo]:
    shared = {"family": "margins", "unit": "", "formula": "", "source": "", "inputs": (), "cost": ""}
    return {"m": MeasureInfo(id="m", title="The measure", hypothesis=hypothesis, **shared)}


@pytest.mark.parametrize(
    ("hypothesis", "estimate", "agrees", "words"),
    [
        ("+", 0.5, True, "predicts a larger gap with larger values; that was found."),
        ("+", -0.5, False, "predicts a larger gap with larger values; the opposite was found."),
        ("-", -0.5, True, "predicts a smaller gap with larger values; that was found."),
        ("-", 0.02, None, "predicts a smaller gap with larger values; no direction was shown over all models."),
        ("", 0.5, None, ""),
    ],
)
def test_the_hypothesis_is_compared_with_what_was_shown(
    hypothesis: str, estimate: float, agrees: bool | None, words: str
) -> None:
    found = judged(total("m", estimate), infos=info(hypothesis))
    assert found["agrees"] is agrees
    assert found["title"] == "The measure"
    assert words in found["sentence"]
    assert ("hypothesis" in found["sentence"]) == bool(words)
    without = judged(total("m", estimate), infos=info(hypothesis), of_gap=False)
    assert (without["hypothesis"], without["agrees"]) == ("", None)


def test_each_measure_is_judged_by_its_own_rows() -> None:
    rows = pd.DataFrame([total("a", 0.5), total("b", 0.02), inside("a", "AT", 0.5)])
    found = judgements(rows, ("b", "a"), "defense", None, {})
    assert [(each["measure"], each["verdict"]) for each in found] == [
        ("b", "unknown"),
        ("a", "holds_overall"),
    ]


def test_units_are_those_of_the_models_that_have_the_measure() -> None:
    # 24 units show a tau of 0.42 four times in five, 12 units one of 0.58; 6 are too few to say.
    power = [{"level": "", "n_units": 24, "alpha": 0.05}, {"level": "A", "n_units": 24, "alpha": 0.05}]
    rows = [total("m", 0.2, **UNSURE), inside("m", "A", 0.1, **UNSURE)]
    assert judged(*rows, power=power)["detectable_tau"] == pytest.approx(detectable_tau(24, 0.05))
    tests = pd.DataFrame(
        {"measure": "m", "statistic": ["tau_b", "tau_within"], "axis": ["", "defense"], "level": ["", "A"]}
    ).assign(n_units=[12, 6], n_permutations=199)
    found = judged(*rows, power=power, tests=tests)
    assert found["detectable_tau"] == pytest.approx(detectable_tau(12, 0.05))
    assert "Inside A there are too few runs to say what would be shown." in found["sentence"]


def test_where_the_permutations_cannot_reach_the_level_nothing_is_said_to_be_shown_and_no_seed_decides() -> None:
    # 0.001 for 18 measures is 5.6e-5; 1,000 permutations give 0.001 at least.
    power = [{"level": "", "n_units": 96, "alpha": 0.05}]
    power += [{"level": "A", "n_units": 24, "alpha": 0.05, "alpha_alone": 0.001 / 18, "least_p": 1 / 1001}]
    tests = pd.DataFrame({"measure": ["m"], "statistic": "tau_within", "axis": "defense", "level": "A"})
    rows = [total("m", 0.05, **UNSURE), inside("m", "A", 0.4, p=0.3)]
    few = tests.assign(n_units=24, n_permutations=1000)
    assert (
        "Inside A the permutations are too few to show anything." in judged(*rows, power=power, tests=few)["sentence"]
    )
    strong = [rows[0], inside("m", "A", 0.9) | {"p_value": 1 / 1001, "p_adjusted": 18 / 1001}]
    assert judged(*strong, power=power, tests=few, draws=(2000, 1000))["edge"] == ""
    # Among 90,000, none, one or seven lie as far out: five are the bound.
    for n, edge in ((0, ""), (1, "A"), (9, "A"), (30, "")):
        p = (1 + n) / 90_001
        strong[1] |= {"p_value": p, "p_adjusted": 18 * p}
        many = tests.assign(n_units=24, n_permutations=90_000)
        assert judged(*strong, power=power, tests=many, draws=(2000, 1000))["edge"] == edge


def test_permutations_that_are_too_few_over_all_models_are_told_and_not_laid_on_the_models() -> None:
    power = [{"level": "", "n_units": 96, "alpha": 0.0001, "least_p": 1 / 1001}]
    found = judged(total("m", 0.2, **UNSURE) | {"n_models": 96}, power=power)
    assert found["verdict"] == "unknown"
    assert "The permutations are too few to show anything." in found["sentence"]
    assert found["detectable_tau"] != found["detectable_tau"]


def test_a_tau_of_residuals_whose_interval_ends_near_zero_is_on_the_edge() -> None:
    rows = [total("m", 0.5), held("m", 0.1, half=0.098)]
    assert judged(*rows, draws=(2000, 1000))["edge"] == "tau with train robust accuracy held fixed"
    assert judged(rows[0], held("m", 0.2, half=0.1), draws=(2000, 1000))["edge"] == ""
