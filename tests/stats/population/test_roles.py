import numpy as np
import pandas as pd
import pytest

from measurebench.core.errors import BadInputError
from measurebench.stats import analyze
from measurebench.stats.population.roles import measure_columns, numbers, require, setting_columns
from tests.stats.tables import grid


def test_the_accuracy_of_a_plugin_attack_is_never_judged_as_a_measure() -> None:
    table = grid()
    for attack in ("square", "apgd-ce"):
        table[f"{attack}_accuracy_train"] = table["pgd_accuracy_train"] - 0.01
        table[f"{attack}_accuracy_test"] = table["pgd_accuracy_test"] - 0.02
        table[f"robust_gap_{attack}"] = table["robust_gap_pgd"] + 0.01
        table[f"n_{attack}"] = 100
        table[f"n_{attack}_train"] = 50
    assert measure_columns(table, "robust_gap_pgd", None, ()) == ["signal", "noise", "tied"]
    assert analyze(table, target="robust_gap_square", bootstrap=20, permutations=19).measures == (
        "signal",
        "noise",
        "tied",
    )


def test_a_number_that_counts_no_images_is_still_a_measure() -> None:
    table = grid().assign(n_layers=range(48), n_square=range(48))
    assert measure_columns(table, "robust_gap_pgd", None, ()) == ["signal", "noise", "tied", "n_layers", "n_square"]


def test_measures_named_are_judged_whatever_they_are() -> None:
    chosen = ["pgd_accuracy_train", "signal", "signal"]
    assert measure_columns(grid(), "robust_gap_pgd", chosen, ()) == ["pgd_accuracy_train", "signal"]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ([], "measures: expected at least one column, got none"),
        (["robust_gap_pgd"], "expected a column other than the target, got the target itself"),
        (["sgnal"], "did you mean 'signal'"),
    ],
)
def test_measures_that_cannot_be_judged_are_refused_by_name(chosen: list[str], expected: str) -> None:
    with pytest.raises(BadInputError, match=expected):
        measure_columns(grid(), "robust_gap_pgd", chosen, ())


def test_a_table_of_texts_alone_has_no_measure() -> None:
    table = pd.DataFrame({"model_id": ["a", "b"], "gap": [0.1, 0.2], "note": ["x", "y"], "flag": [True, False]})
    with pytest.raises(BadInputError, match="at least one numeric column to judge"):
        measure_columns(table, "gap", None, ())


def test_settings_are_those_named_or_found_with_the_defense_last() -> None:
    table = grid()
    found = ["setting_augmentation", "setting_batch_size", "setting_stop", "architecture", "defense"]
    assert setting_columns(table, None, "defense") == found
    assert setting_columns(table, ["run"], "defense") == ["run", "defense"]
    assert setting_columns(table, ["run"], "method") == ["run"]
    with pytest.raises(BadInputError, match="setting 'x'"):
        setting_columns(table, ["x"], "defense")


def test_a_missing_column_is_named_with_near_ones_or_with_all() -> None:
    require(grid(), "signal", "measure")
    with pytest.raises(BadInputError, match="target 'zzz'.*the table has model_id, .* and 3 more"):
        require(grid(), "zzz", "target")
    with pytest.raises(BadInputError, match="did you mean 'signal'"):
        require(grid(), "signa", "target")


def test_infinite_and_empty_numbers_are_missing_and_texts_are_named() -> None:
    table = pd.DataFrame(
        {"x": [1, np.inf, -np.inf, np.nan], "t": ["1.5", " ", None, "2"], "bad": ["1", "two", "3", "4"]}
    )
    np.testing.assert_array_equal(numbers(table, "x", "measure"), [1, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(numbers(table, "t", "measure"), [1.5, np.nan, np.nan, 2])
    with pytest.raises(BadInputError, match="column 'bad': expected numbers, got 'two'"):
        numbers(table, "bad", "column")
