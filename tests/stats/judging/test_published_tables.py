"""Published tables of few models, and other tables in which little could have been shown: the words say so."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from measurebench.stats import analyze
from measurebench.stats.analysis import Analysis

QUICK: dict[str, Any] = {"bootstrap": 200, "permutations": 999}
METHODS = ("Standard", "AT", "TRADES", "MART", "AWP", "HAT", "LBGAT", "SCORE", "RST")
ARCHITECTURES = ("RN18", "PRN18", "WRN28")


def published(seed: int = 0, noise: float = 0.3) -> pd.DataFrame:
    """Return 27 models: 9 training methods, 3 architectures; the gap and a robustness score go with the method."""
    rng = np.random.default_rng(seed)
    by_method = dict(zip(METHODS, rng.permutation(9), strict=True))
    rows = []
    for method, architecture in itertools.product(METHODS, ARCHITECTURES):
        level = by_method[method]
        rows.append(
            {
                "model": f"{method}-{architecture}",
                "training": method,
                "architecture": architecture,
                "gap": level + noise * rng.normal(),
                "probabilistic_robustness": -level + noise * rng.normal(),
                "random_score": rng.normal(),
            }
        )
    return pd.DataFrame(rows)


def judged(table: pd.DataFrame, **options: Any) -> Analysis:
    given = {"target": "gap", "defense": "training", "id": "model"} | QUICK | options
    return analyze(table, **given)


def test_a_score_of_27_published_models_is_not_said_to_hold_where_nothing_could_be_shown_inside_a_method() -> None:
    analysis = judged(published())
    found = analysis.judgements.set_index("measure")
    row = found.loc["probabilistic_robustness"]
    assert row["tau_b"] < -0.8
    assert row["p_adjusted"] < 0.01
    # The method alone tells the gap: the score is not said to hold, and no method is said to contradict it.
    assert row["verdict"] in {"tells_settings", "untested_beside_settings"}
    assert "holds" not in row["sentence"]
    assert "Inside the defenses nothing could have been shown: each has too few models (AT " in row["sentence"]
    assert "not shown" not in row["sentence"]
    inside = analysis.power[analysis.power["scope"] == "defense"]
    assert len(inside) == 9
    assert inside["too_few"].all()
    assert inside["sentence"].str.contains("too few to show any tau at all").all()
    # A score that knows nothing is not shown.
    assert found.loc["random_score", "verdict"] in {"unknown", "underpowered"}


@pytest.mark.parametrize("n", [3, 4])
def test_so_few_models_show_nothing_even_in_a_perfect_order(n: int) -> None:
    table = pd.DataFrame({"model": [f"m{i}" for i in range(n)], "gap": np.arange(n) / 10, "score": np.arange(n) * 1.0})
    row = judged(table, defense="defense").judgements.iloc[0]
    assert row["verdict"] == "too_few"
    assert "could not show even a perfect order" in row["sentence"]


@pytest.mark.parametrize("n", [8, 12, 27])
def test_a_perfect_order_is_shown_and_its_interval_reaches_one_and_leaves_out_zero(n: int) -> None:
    table = pd.DataFrame({"model": [f"m{i}" for i in range(n)], "gap": np.arange(n) / 10, "score": -np.arange(n) * 1.0})
    analysis = judged(table, defense="defense")
    row = analysis.judgements.iloc[0]
    assert (row["verdict"], row["tau_b"], row["found"]) == ("holds_undivided", -1.0, "-")
    total = analysis.select("tau_b").iloc[0]
    if n < 12:  # six disjoint pairs of units are too few for an interval: the p-value decides
        assert np.isnan(total["ci_low"])
    else:
        assert total["ci_low"] == -1.0
        assert total["ci_high"] == pytest.approx(-(2 * 0.025 ** (1 / (n // 2)) - 1))


def test_a_measure_with_two_values_is_judged_with_its_ties() -> None:
    # tau_b of a binary score that splits a strict order in the middle: 2 * 18 * 18 ordered concordant pairs.
    n = 36
    table = pd.DataFrame({"model": [f"m{i}" for i in range(n)], "gap": np.arange(n) / n, "score": np.arange(n) // 18})
    analysis = judged(table, defense="defense")
    total = analysis.select("tau_b").iloc[0]
    expected = 18 * 18 / np.sqrt(18 * 18 * n * (n - 1) / 2)
    assert total["estimate"] == pytest.approx(expected)
    assert total["ci_low"] < expected < total["ci_high"] <= 1
    assert analysis.judgements.iloc[0]["verdict"] == "holds_undivided"
