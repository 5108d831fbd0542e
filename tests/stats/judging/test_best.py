"""The measure that is called the best holds beside the controls, wherever it is named."""

from typing import Any

import numpy as np
import pandas as pd

from measurebench.reporting.comparison.comparison_page import _best
from measurebench.reporting.study.finding import finding
from measurebench.reporting.subject.study import Study
from measurebench.stats import analyze
from measurebench.stats.judging.best import HOLDING, best_first
from measurebench.stats.judging.verdict import VERDICTS
from tests.stats.tables import grid

QUICK: dict[str, Any] = {"bootstrap": 200, "permutations": 199}


def judgement(name: str, verdict: str, tau: float | None, p: float = 0.001) -> dict[str, Any]:
    low, high = (None, None) if tau is None else (tau - 0.1, tau + 0.1)
    return {"measure": name, "verdict": verdict, "tau_b": tau, "p_adjusted": p, "ci_low": low, "ci_high": high}


def test_what_holds_comes_before_what_is_shown_and_that_before_the_rest() -> None:
    rows = [
        judgement("none", "undetermined", None),
        judgement("chance", "unknown", 0.9, p=0.4),
        judgement("proxy", "tells_settings", 0.8),
        judgement("weak", "holds_overall", -0.3),
        judgement("strong", "holds_everywhere", 0.5),
    ]
    assert best_first(rows) == ["strong", "weak", "proxy", "chance", "none"]
    assert set(VERDICTS) >= HOLDING


def two_measures() -> pd.DataFrame:
    """Return 192 models whose gap is the defense's and another part; one measure mirrors the first, one the second."""
    rng = np.random.default_rng(0)
    table = pd.concat([grid(seed).assign(setting_seed=seed) for seed in range(4)], ignore_index=True)
    for name in ("run", "model_id"):
        table[name] += "-" + table["setting_seed"].astype(str)
    effect = table["defense"].map({"AT": 0.0, "TRADES": 3.0, "MART": 6.0})
    own = rng.normal(size=table["run"].nunique())[table.groupby("run").ngroup()]
    table["gap"] = effect + own
    table["mirror"] = effect + 0.1 * rng.normal(size=len(table))
    table["telling"] = own + 0.3 * rng.normal(size=len(table))
    return table


def test_the_headline_does_not_call_best_what_only_tells_the_settings() -> None:
    table = two_measures()
    options: dict[str, Any] = {"target": "gap", "settings": ["architecture", "setting_batch_size", "defense"]}
    analysis = analyze(table, measures=["mirror", "telling"], **options, **QUICK)
    verdicts = dict(zip(analysis.judgements["measure"], analysis.judgements["verdict"], strict=True))
    assert verdicts["mirror"] == "tells_settings"
    assert verdicts["telling"] in HOLDING
    study = Study.of("x", table, analysis)
    assert study.ranked[0] == "mirror"
    assert study.best_first == ("telling", "mirror")
    sentence = finding(study).sentence
    assert sentence.startswith("telling follows ")
    assert " best (τ = " in sentence
    assert ") among the measures that tell more than the training settings; mirror has the larger |τ|" in sentence
    assert "but lowers the squared error beside the settings by less than 10 %, if at all" in sentence
    assert finding(study).numbers[2].value == "telling"
    assert _best(study) == "telling"


def test_where_nothing_holds_no_measure_is_said_to_follow_the_target_best() -> None:
    table = two_measures()
    options: dict[str, Any] = {"target": "gap", "settings": ["architecture", "setting_batch_size", "defense"]}
    study = Study.of("x", table, analyze(table, measures=["mirror"], **options, **QUICK))
    sentence = finding(study).sentence
    assert sentence.startswith("mirror is most strongly associated with ")
    assert "), but lowers the squared error beside the settings by less than 10 %, if at all" in sentence
    assert " best" not in sentence
    assert finding(study).numbers[2].detail.endswith("less than 10 %, if at all, with one curve for all models")
    assert _best(study).startswith(
        "mirror (which lowers the squared error beside the settings by less than 10 %, if at all"
    )
