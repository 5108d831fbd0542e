"""The numbers at the top say what was found, then how sure it is, and claim no more than the estimates below them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from measurebench.reporting.study.finding import _agreement, finding
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze
from tests.reporting.conftest import KEPT
from tests.reporting.synthetic import study_table

QUICK: dict[str, Any] = {"bootstrap": 60, "permutations": 999}


def study_of(table: pd.DataFrame, **options: Any) -> Study:
    return Study.of("x", table, analyze(table, **(QUICK | options)))


def tau(table: pd.DataFrame, measure: str) -> float:
    return float(kendalltau(table[measure], table["robust_gap_pgd"]).statistic)


def test_the_best_measure_is_named_with_its_tau_and_then_the_defenses(study: Study) -> None:
    best = max(KEPT, key=lambda name: abs(tau(study.table, name)))
    sentence = finding(study).sentence
    start = f"{study.infos[best].title} follows the robust generalization gap best (τ = {tau(study.table, best):.2f})"
    assert sentence.startswith(start)
    assert "chance" not in sentence
    assert sentence.split("; ")[1] in {
        "1 measure changes sign between defenses",
        "no measure is shown to change sign between defenses",
    }


def test_a_best_measure_that_could_be_chance_is_named_with_that_doubt() -> None:
    table = study_table(12)
    table["noise"] = np.random.default_rng(3).normal(size=12)
    study = study_of(table, measures=["noise"])
    told = f"noise follows the robust generalization gap best (τ = {tau(table, 'noise'):.2f})".replace("-", "\u2212")
    assert finding(study).sentence.startswith(f"{told}, but over 12 models this could be chance; no measure is shown")


@pytest.mark.parametrize(
    ("verdict", "doubt"),
    [
        ("untested_beside_settings", "may only reflect the training settings"),
        (
            "tells_settings",
            "lowers the squared error beside the settings by less than 10 %, if at all, with one curve for all models",
        ),
        (
            "explained_by_train_accuracy",
            "keeps less than half of tau with train robust accuracy, which is a part of the gap, held fixed",
        ),
        ("turns_with_defense", "changes sign between defenses"),
    ],
)
def test_a_best_measure_that_does_not_hold_is_named_with_its_doubt_once(verdict: str, doubt: str) -> None:
    table = study_table(60)
    table = table[table["defense"] == "AT"].reset_index(drop=True)
    analysis = analyze(table, measures=["x_grad_norm_pgd"], **QUICK)
    analysis.judgements["verdict"] = verdict
    assert finding(Study.of("x", table, analysis)).sentence == (
        "x_grad_norm_pgd is most strongly associated with the robust generalization gap "
        f"(τ = {tau(table, 'x_grad_norm_pgd'):.2f}), but {doubt}"
    )


def test_one_defense_has_one_clause() -> None:
    table = study_table(60)
    table = table[table["defense"] == "AT"].reset_index(drop=True)
    sentence = finding(study_of(table, measures=["x_grad_norm_pgd"])).sentence
    assert sentence == (
        f"x_grad_norm_pgd follows the robust generalization gap best (τ = {tau(table, 'x_grad_norm_pgd'):.2f})"
    )


@pytest.mark.parametrize(
    ("measures", "question"),
    [
        (["local_lip"], "whether one measure predicts it."),
        (["local_lip", "path_norm"], "which of 2 measures predict it."),
    ],
)
def test_the_lead_states_the_range_of_the_gap_and_the_question(measures: list[str], question: str) -> None:
    table = study_table(24)
    low, high = 100 * table["robust_gap_pgd"].min(), 100 * table["robust_gap_pgd"].max()
    lead = finding(study_of(table, measures=measures)).lead
    assert f"from {low:.1f} to {high:.1f} percentage points over 24 models".replace("-", "\u2212") in lead
    assert lead.endswith(question)


def test_the_spread_is_the_middle_half_of_the_gaps(study: Study) -> None:
    gaps = 100 * study.table["robust_gap_pgd"]
    number = finding(study).numbers[1]
    assert number.label == "middle half of the gaps, in points"
    assert number.value == f"{np.quantile(gaps, 0.25):.1f} to {np.quantile(gaps, 0.75):.1f}".replace("-", "\u2212")


def test_models_left_out_are_counted_by_reason() -> None:
    table = study_table(24)
    table.loc[:2, ["robust_gap_pgd", "reason"]] = [float("nan"), "OutOfMemoryError"]
    table.loc[3, ["robust_gap_pgd", "reason"]] = [float("nan"), "diverged"]
    number = finding(study_of(table, measures=["local_lip"])).numbers[0]
    assert (number.value, number.detail) == ("20 of 24", "4 models left out")
    assert number.lines == ("3 × no robust_gap_pgd: OutOfMemoryError", "1 × no robust_gap_pgd: diverged")


def test_the_best_predictor_states_direction_interval_and_number_of_models(study: Study) -> None:
    number = finding(study).numbers[2]
    assert number.detail.startswith("larger values, larger gaps; τ = 0.9")
    assert "95 % [" in number.detail
    assert number.detail.endswith("n = 36")


def test_measures_that_change_sign_are_counted_and_named() -> None:
    table = study_table(72)
    number = finding(study_of(table, measures=["local_lip", "x_grad_norm_pgd"])).numbers[4]
    assert number.label == "measures that change sign between defenses"
    assert number.value == "1 of 2"
    assert number.detail.startswith("local_lip. By the estimates alone, without their intervals, ")


def test_inside_a_defense_only_what_is_shown_is_called_its_best_predictor() -> None:
    rng = np.random.default_rng(0)
    n = 90
    gap, defense = rng.normal(size=n), np.array(["AT", "TRADES", "Standard"])[np.arange(n) % 3]
    known = (defense != "Standard") | (np.arange(n) < 18)  # six models of Standard training
    table = pd.DataFrame({"model_id": [f"m{i}" for i in range(n)], "defense": defense, "robust_gap_pgd": gap})
    table["signal"] = np.where(defense == "Standard", rng.normal(size=n), gap + 0.3 * rng.normal(size=n))
    table["rare"] = np.where(known, rng.normal(size=n), np.nan)
    study = Study.of("certain", table, analyze(table, bootstrap=100, permutations=400))
    number = next(n for n in finding(study).numbers if n.label == "best predictor inside each defense")
    assert number.value == "the same one"
    lines = dict(line.split(": ", 1) for line in number.lines)
    assert lines["Standard"] == "no association is shown"
    assert lines["AT"].startswith("signal, τ = ")


def test_one_defense_alone_is_no_agreement() -> None:
    assert _agreement(["local_lip"], 4) == "shown in 1 of 4"
    assert _agreement([], 3) == "shown in 0 of 3"
    assert _agreement(["local_lip", "local_lip"], 3) == "the same one"
    assert _agreement(["local_lip", "path_norm", "path_norm"], 3) == "2 different"
