import numpy as np
import pandas as pd
import pytest

from measurebench.core.info import MeasureInfo
from measurebench.stats import analyze
from measurebench.stats.judging.verdict import row_words

N = 40


def _table(slopes: dict[str, float], offsets: dict[str, float], noise: float = 0.1) -> pd.DataFrame:
    """Return models of several defenses: gap = slope * u + noise inside each, both moved by the offset."""
    rng = np.random.default_rng(0)
    parts = []
    for defense, slope in slopes.items():
        u = rng.normal(size=N)
        gap = slope * u + noise * rng.normal(size=N) + offsets[defense]
        parts.append(pd.DataFrame({"defense": defense, "m": u + offsets[defense], "robust_gap_pgd": gap}))
    return pd.concat(parts, ignore_index=True)


def _judge(table: pd.DataFrame, **options):
    return analyze(table, measures=["m"], bootstrap=200, permutations=999, **options).judgements.iloc[0]


SAME = {"AT": 0.0, "TRADES": 0.0}
# Falls inside each of three defenses, rises between them: of all pairs two thirds are between.
REVERSED = ({"AT": -1.0, "TRADES": -1.0, "MART": -1.0}, {"AT": 0.0, "TRADES": 9.0, "MART": 18.0})


@pytest.mark.parametrize(
    ("slopes", "offsets", "verdict"),
    [
        ({"AT": 1.0, "TRADES": 1.0}, SAME, "holds_everywhere"),
        ({"AT": 1.0, "TRADES": -1.0}, SAME, "turns_with_defense"),
        (*REVERSED, "turns_with_defense"),
        ({"AT": 0.0, "TRADES": 0.0}, SAME, "unknown"),
        ({"AT": 0.0, "TRADES": 0.0}, {"AT": 0.0, "TRADES": 9.0}, "tells_settings"),
        ({"AT": 1.0, "TRADES": 0.0}, SAME, "holds_overall"),
    ],
)
def test_verdicts_follow_from_how_the_table_was_made(slopes: dict, offsets: dict, verdict: str) -> None:
    row = _judge(_table(slopes, offsets))
    assert row["verdict"] == verdict
    assert row_words(row.to_dict()) in row["sentence"]


def test_without_defenses_nothing_is_said_about_what_happens_inside_them() -> None:
    row = _judge(_table({"AT": 1.0}, SAME).drop(columns="defense"))
    assert row["verdict"] == "holds_undivided"
    assert "inside" not in row["sentence"].lower()


def test_a_simpson_reversal_is_named() -> None:
    row = _judge(_table(*REVERSED))
    assert row["reversal"]
    assert row["found"] == "+"
    assert "Simpson reversal" in row["sentence"]


def test_an_association_that_train_accuracy_carries_is_said_to_be_explained() -> None:
    rng = np.random.default_rng(1)
    n = 160
    z = rng.uniform(0.3, 0.9, n)
    table = pd.DataFrame(
        {
            "defense": ["AT", "TRADES"] * (n // 2),
            "pgd_accuracy_train": z,
            "m": z + 0.2 * rng.normal(size=n),
            "robust_gap_pgd": z + 0.005 * rng.normal(size=n),
        }
    )
    row = _judge(table)
    assert row["verdict"] == "explained_by_train_accuracy"
    assert row["partial_ci_low"] < row["partial_tau"] < row["partial_ci_high"]


@pytest.mark.parametrize(("hypothesis", "agrees", "words"), [("+", True, "that was found"), ("-", False, "opposite")])
def test_the_predicted_direction_stands_beside_the_one_found(hypothesis, agrees: bool, words: str) -> None:
    info = MeasureInfo(
        id="m",
        title="The measure",
        family="margins",
        unit="",
        formula="",
        source="",
        hypothesis=hypothesis,
        inputs=(),
        cost="",
    )
    row = _judge(_table({"AT": 1.0, "TRADES": 1.0}, SAME), infos={"m": info})
    assert (row["hypothesis"], row["found"], row["agrees"]) == (hypothesis, "+", agrees)
    assert row["sentence"].startswith("The measure holds")
    assert words in row["sentence"]


def test_the_standing_of_a_model_on_a_line_is_predicted_exactly() -> None:
    table = pd.DataFrame({"model_id": list("abcdefg"), "m": range(7), "robust_gap_pgd": [0.1 * k for k in range(7)]})
    rows = analyze(table, bootstrap=20, permutations=19, model="d").standing
    row = rows.iloc[0]
    assert (row["percentile"], row["n_models"]) == (50, 6)
    assert row["predicted"] == pytest.approx(0.3)
    assert row["residual"] == pytest.approx(0, abs=1e-12)


def test_the_prediction_interval_is_that_of_statsmodels() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(2)
    table = pd.DataFrame({"model_id": [f"m{k:02d}" for k in range(12)], "m": rng.normal(size=12)})
    table["robust_gap_pgd"] = table["m"] + rng.normal(size=12)
    row = analyze(table, bootstrap=20, permutations=19, model="m05").standing.iloc[0]
    others = table.drop(index=5)
    fit = sm.OLS(others["robust_gap_pgd"], sm.add_constant(others["m"])).fit()
    frame = fit.get_prediction([[1.0, table.loc[5, "m"]]]).summary_frame(alpha=0.05).iloc[0]
    assert row["predicted"] == pytest.approx(frame["mean"])
    assert (row["predicted_low"], row["predicted_high"]) == pytest.approx(
        (frame["obs_ci_lower"], frame["obs_ci_upper"])
    )
