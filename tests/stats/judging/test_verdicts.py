"""Every branch of the judgement, on rows written by hand."""

from typing import Any

import pandas as pd
import pytest

from measurebench.core.info import MeasureInfo
from measurebench.stats.judging.judgements import VERDICTS, judgements
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
        ("indistinguishable", [total("m", 0.5, **UNSURE)]),
        ("indistinguishable", [total("m", 0.05)]),
        ("indistinguishable", [total("m", 0.05), inside("m", "AT", 0.5, **UNSURE), inside("m", "MART", 0.05)]),
        ("within_defenses_only", [total("m", 0.05), inside("m", "AT", 0.5), inside("m", "MART", 0.05)]),
        ("turns_with_defense", [total("m", 0.05), inside("m", "AT", 0.5), inside("m", "MART", -0.5)]),
        ("turns_with_defense", [total("m", 0.5), inside("m", "AT", -0.5), inside("m", "MART", -0.5)]),
        ("turns_with_defense", [total("m", 0.5), inside("m", "AT", -0.5), inside("m", "MART", 0.01)]),
        ("holds_undivided", [total("m", 0.5)]),
        ("holds_everywhere", [total("m", 0.5), inside("m", "AT", 0.5), inside("m", "MART", 0.4)]),
        ("holds_overall", [total("m", 0.5), inside("m", "AT", 0.5), inside("m", "MART", 0.4, **UNSURE)]),
        ("holds_overall", [total("m", 0.5), inside("m", "AT", 0.5)]),
        ("holds_overall", [total("m", 0.5), inside("m", "AT", 0.5), inside("m", "MART", 0.4), inside("m", "X", NAN)]),
        ("between_defenses_only", [total("m", 0.5), inside("m", "AT", 0.02), inside("m", "MART", 0.4, **UNSURE)]),
        ("explained_by_train_accuracy", [total("m", 0.5), held("m", 0.05)]),
        ("explained_by_train_accuracy", [total("m", 0.5), held("m", 0.2, **UNSURE)]),
        ("explained_by_train_accuracy", [total("m", 0.5), held("m", -0.3)]),
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
    expected = "cannot be judged" if verdict == "undetermined" else VERDICTS[verdict]
    assert expected in found["sentence"]


def test_every_verdict_has_words_that_are_no_riddle() -> None:
    assert len(set(VERDICTS.values())) == len(VERDICTS) == 9
    assert all(text.split()[0] in {"holds", "changes", "is", "shows", "cannot"} for text in VERDICTS.values())


def test_a_reversal_needs_every_shown_defense_against_the_whole() -> None:
    assert judged(total("m", 0.5), inside("m", "AT", -0.5))["reversal"]
    assert "opposite sign" in judged(total("m", 0.5), inside("m", "AT", -0.5))["sentence"]
    assert not judged(total("m", 0.5), inside("m", "AT", -0.5), inside("m", "MART", 0.5))["reversal"]
    assert not judged(total("m", 0.05), inside("m", "AT", -0.5))["reversal"]


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
        (0.02, 0.3, "Taken alone it would be shown (p = 0.020), but not among so many measures."),
        (0.3, 0.3, "The interval leaves out zero, but randomly exchanged values do as well (p = 0.300)."),
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
    assert found["partial_tau"] == 0.4
    assert "of the opposite sign." in judged(total("m", 0.5), held("m", -0.4))["sentence"]
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
        ("b", "indistinguishable"),
        ("a", "holds_overall"),
    ]
