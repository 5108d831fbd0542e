"""The numbers at the top claim no more than the estimates below them."""

import numpy as np
import pandas as pd

from measurebench.reporting.study.finding import _agreement, finding
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze


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


def test_models_left_out_for_one_reason_are_counted_together() -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"model_id": [f"m{i}" for i in range(30)], "robust_gap_pgd": rng.normal(size=30)})
    table["signal"] = rng.normal(size=30)
    table["reason"] = ""
    for i in range(3):
        table.loc[i, ["robust_gap_pgd", "reason"]] = [np.nan, f"folder#m{i}: output: expected logits that differ"]
    study = Study.of("left out", table, analyze(table, bootstrap=20, permutations=19))
    number = finding(study).numbers[0]
    assert number.value == "27 of 30"
    assert number.lines == ("3 × no robust_gap_pgd: output: expected logits that differ",)
