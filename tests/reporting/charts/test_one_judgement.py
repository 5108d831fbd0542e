"""The page says of a measure what the analysis judged, and nothing else."""

import numpy as np
import pandas as pd

from measurebench.reporting.charts.scatter import sentence
from measurebench.reporting.comparison.comparison_page import comparison_page
from measurebench.reporting.study.finding import finding
from measurebench.reporting.study.methods import methods
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze


def table(n: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    gap, defense = rng.normal(size=n), np.array(["AT", "MART"])[np.arange(n) % 2]
    turning = np.where(defense == "AT", gap, -gap) + 0.1 * rng.normal(size=n)
    columns = {"robust_gap_pgd": gap, "defense": defense, "turning": turning, "other": rng.normal(size=n)}
    return pd.DataFrame({"model_id": [f"m{i}" for i in range(n)]} | columns)


def study(name: str, models: pd.DataFrame) -> Study:
    return Study.of(name, models, analyze(models, bootstrap=60, permutations=4999))


def test_the_title_of_a_measure_that_turns_says_that_it_turns() -> None:
    told = sentence(study("x", table()), "turning")
    assert told.startswith("turning changes sign between defenses (τ = ")


def test_a_sign_that_turns_inside_all_defenses_is_not_told_as_one_between_them() -> None:
    models = table()
    level = 10.0 * (np.arange(len(models)) % 4)
    models["defense"] = np.array(["AT", "MART", "TRADES", "Standard"])[np.arange(len(models)) % 4]
    models["simpson"] = level - models["robust_gap_pgd"] + 0.1 * models["other"]
    models["robust_gap_pgd"] += level
    told = sentence(study("x", models), "simpson")
    assert told.startswith("simpson has the opposite sign inside AT, MART, Standard and TRADES (τ = ")


def test_radii_are_written_as_fractions() -> None:
    rows = dict(methods(study("x", table().assign(radius=2 / 255, norm="Linf"))))
    assert rows["radius"] == "2/255"


def test_three_defenses_without_a_correlation_are_not_called_one() -> None:
    models = table(9).assign(defense=list("ABCABCABC"), other=[1.0, 2.0, 3.0] * 3).drop(columns="turning")
    number = finding(study("x", models)).numbers[3]
    assert (number.value, number.detail) == ("none", "no rank correlation inside a defense")


def test_measures_of_one_study_only_are_counted_and_said() -> None:
    models = table()
    page = comparison_page(study("a", models), study("b", models.drop(columns="other")))
    assert "None of 1 association differs by more than chance; 1 measure is in one study only" in page
