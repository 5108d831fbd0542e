"""The published claims, on tables made so that the answer is known."""

import numpy as np
import pandas as pd
import pytest

from measurebench.stats import analyze, judged_claims
from measurebench.stats.judging.claims import COLUMNS


@pytest.fixture(scope="module")
def judged() -> pd.DataFrame:
    """Claims on 180 models of three defenses, in one of which boundary thickness turns."""
    rng = np.random.default_rng(0)
    n = 180
    defense = np.array(["AT", "TRADES", "MART"])[np.arange(n) % 3]
    gap = rng.normal(size=n)
    noise = rng.normal(size=(6, n))
    table = pd.DataFrame(
        {
            "model_id": [f"m{i}" for i in range(n)],
            "defense": defense,
            "setting_augmentation": rng.integers(0, 2, n).astype(bool),
            "robust_gap_pgd": gap,
            "prob_margin_pgd": gap + 0.1 * noise[0],
            "average_ce_pgd": gap + 0.1 * noise[1],
            "boundary_thickness": np.where(defense == "AT", -gap, gap) + 0.1 * noise[2],
            "average_flat_pgd": noise[3],
            "estimated_sharpness_pgd": -gap + 0.1 * noise[4],
            "x_grad_norm_pgd": gap + 0.5 * noise[5],
        }
    )
    return judged_claims(analyze(table, bootstrap=100, permutations=400))


def verdict(judged: pd.DataFrame, claim: str, measure: str) -> str:
    rows = judged[judged["claim"].str.contains(claim, regex=False) & (judged["measure"] == measure)]
    assert len(rows) == 1
    return str(rows["verdict"].iloc[0])


@pytest.mark.parametrize(
    ("claim", "measure", "expected"),
    [
        ("larger margins", "prob_margin_pgd", "holds"),
        ("larger margins", "average_ce_pgd", "does not hold"),
        ("larger margins", "inverse_margin_pgd", "cannot be tested"),
        ("flatness correlates poorly", "average_flat_pgd", "holds"),
        ("flatness correlates poorly", "estimated_sharpness_pgd", "does not hold"),
        ("sharper minima", "estimated_sharpness_pgd", "holds"),
        ("turns with the training method", "boundary_thickness", "holds"),
        ("depends on the training set-up", "boundary_thickness", "holds"),
        ("depends on the training set-up", "prob_margin_pgd", "not decided"),
        ("keeps one sign inside every defense", "x_grad_norm_pgd", "holds"),
        ("most consistent", "x_grad_norm_pgd", "does not hold"),
    ],
)
def test_a_claim_is_judged_as_the_table_was_made(judged: pd.DataFrame, claim: str, measure: str, expected: str) -> None:
    assert verdict(judged, claim, measure) == expected


def test_a_measure_that_holds_everywhere_refutes_that_none_does(judged: pd.DataFrame) -> None:
    assert verdict(judged, "no measure holds everywhere", "") == "does not hold"


def test_a_table_without_the_studys_measures_or_defenses_tests_nothing_of_them() -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {"model_id": list("abcdefgh"), "robust_gap_pgd": rng.normal(size=8), "mine": rng.normal(size=8)}
    )
    judged = judged_claims(analyze(table, bootstrap=50))
    assert tuple(judged.columns) == COLUMNS
    assert set(judged["verdict"]) == {"cannot be tested"}


def test_too_few_models_decide_nothing_and_settings_do_not_stand_in_for_defenses() -> None:
    rng = np.random.default_rng(2)
    table = pd.DataFrame(
        {
            "model_id": list("abcdefghijkl"),
            "robust_gap_pgd": rng.normal(size=12),
            "x_grad_norm_pgd": rng.normal(size=12),
            "setting_augmentation": [False, True] * 6,
        }
    )
    without = judged_claims(analyze(table, bootstrap=50))
    assert verdict(without, "keeps one sign inside every defense", "x_grad_norm_pgd") == "cannot be tested"
    few = judged_claims(analyze(table.assign(defense=["AT", "AT", "MART", "MART"] * 3), bootstrap=50))
    assert verdict(few, "no measure holds everywhere", "") == "not decided"


def made(rng: np.random.Generator, per_defense: int, **taus: tuple[float, ...]) -> pd.DataFrame:
    """Return a table in which each measure follows the gap inside three defenses with the slopes given."""
    n = 3 * per_defense
    which, gap = np.arange(n) % 3, rng.normal(size=n)
    columns = {
        name: np.where(np.isnan(np.array(slopes)[which]), np.nan, np.array(slopes)[which] * gap)
        + 0.3 * rng.normal(size=n)
        for name, slopes in taus.items()
    }
    identity = {"model_id": [f"m{i}" for i in range(n)], "defense": np.array(["AT", "MART", "TRADES"])[which]}
    return pd.DataFrame(identity | {"robust_gap_pgd": gap} | columns)


def claims_of(table: pd.DataFrame, target: str = "robust_gap_pgd") -> pd.DataFrame:
    return judged_claims(analyze(table, target=target, bootstrap=100, permutations=300))


def test_a_measure_known_in_one_defense_alone_is_neither_of_one_sign_nor_the_steadiest() -> None:
    nan = float("nan")
    table = made(np.random.default_rng(1), 60, x_grad_norm_pgd=(1.0, nan, nan), prob_margin_pgd=(1.0, 1.0, 1.0))
    judged = claims_of(table)
    assert verdict(judged, "keeps one sign inside every defense", "x_grad_norm_pgd") == "not decided"
    assert (
        verdict(judged, "most consistent", "x_grad_norm_pgd") == "not decided"
    )  # what is not known is not surely smaller


def test_the_steadiest_measure_must_surely_be_so() -> None:
    rng = np.random.default_rng(2)
    clear = made(rng, 50, x_grad_norm_pgd=(1.0, 1.0, 1.0), prob_margin_pgd=(0.2, 0.2, 0.2))
    assert verdict(claims_of(clear), "most consistent", "x_grad_norm_pgd") == "holds"


def test_a_constant_measure_and_a_tiny_level_stand_in_no_claims_way() -> None:
    table = made(np.random.default_rng(3), 50, average_flat_pgd=(1.0, -1.0, 0.0), local_lip=(1.0, -1.0, 0.0))
    table["boundary_thickness"] = 1.0
    extra = table.head(2).assign(model_id=["a", "b"], defense="odd")
    judged = claims_of(pd.concat([table, extra], ignore_index=True))
    assert verdict(judged, "no measure holds everywhere", "") == "holds"
    assert verdict(judged, "depends on the training set-up", "local_lip") == "holds"


def test_claims_about_the_gap_say_nothing_of_another_target() -> None:
    table = made(np.random.default_rng(5), 30, prob_margin_pgd=(1.0, 1.0, 1.0)).rename(
        columns={"robust_gap_pgd": "error"}
    )
    judged = claims_of(table, "error")
    assert judged["verdict"].tolist() == ["cannot be tested"]
    assert judged["found"].tolist() == ["the target is error"]
