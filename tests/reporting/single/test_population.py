"""A percentile is the share of other models below; which models count depends on task and defense."""

import pandas as pd
import pytest

from measurebench.reporting.single.population import Population, reference_population, shipped_studies


def study(n: int = 30, **columns: object) -> pd.DataFrame:
    values = {"dataset": "digits", "norm": "Linf", "radius": 0.15, "defense": "AT", "x": range(n)} | columns
    return pd.DataFrame(values | {"file_sha256": [f"f{i}" for i in range(n)]})


ROW = pd.Series({"dataset": "digits", "norm": "Linf", "radius": "3/20", "defense": "AT", "file_sha256": "mine"})


@pytest.mark.parametrize(("value", "expected"), [(-1.0, 0.0), (0.0, 1.25), (19.5, 50.0), (39.0, 98.75), (99.0, 100.0)])
def test_percentile_counts_smaller_values_and_half_of_the_equal_ones(value: float, expected: float) -> None:
    assert Population("s", "", study(40)).percentile("x", value) == (pytest.approx(expected), 40)


def test_there_is_no_percentile_among_few_models_or_without_a_number() -> None:
    assert Population("s", "", study(19)).percentile("x", 3.0) is None
    assert Population("s", "", study()).percentile("x", float("nan")) is None
    assert Population("s", "", study()).percentile("unknown", 3.0) is None


def test_models_of_the_same_defense_are_taken_and_the_model_itself_is_none_of_them() -> None:
    table = pd.concat([study(30), study(30, defense="TRADES", x=range(100, 130))], ignore_index=True)
    found = reference_population(ROW, {"s": table})
    assert found is not None
    assert set(found.table["defense"]) == {"AT"}
    assert len(found.table) == 30
    assert "30 models trained with AT in the study s (digits, Linf 3/20)" in found.description
    again = reference_population(ROW.replace("mine", "f3"), {"s": table})
    assert again is not None
    assert len(again.table) == 29


def test_all_defenses_count_where_few_models_share_the_own() -> None:
    found = reference_population(ROW.replace("AT", "SCORE"), {"s": study()})
    assert found is not None
    assert "30 models of all its defenses" in found.description


@pytest.mark.parametrize("other", [{"radius": "8/255"}, {"norm": "L2"}, {"dataset": "cifar10"}, {"radius": None}])
def test_another_task_has_no_population(other: dict[str, object]) -> None:
    assert reference_population(pd.Series(ROW.to_dict() | other), {"s": study()}) is None


def test_the_study_of_digits_is_shipped() -> None:
    assert len(shipped_studies()["digits-study"]) == 1344
