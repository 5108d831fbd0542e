"""Filters, names of levels and units of resampling, one by one."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from measurebench.core.errors import BadInputError
from measurebench.stats.population.axes import usable_settings
from measurebench.stats.population.population import (
    Population,
    identified,
    is_standard,
    level_names,
    read_population,
)
from tests.stats.tables import grid


def population(table: pd.DataFrame, **options: Any) -> Population:
    given = {"target": "robust_gap_pgd", "measures": None, "settings": None, "defense": "defense"}
    return read_population(table, **(given | {"run": "run", "cluster": "cluster"} | options))


def left_out(found: Population) -> dict[str, int]:
    return {step.name: len(step.left_out) for step in found.filters}


def test_filters_run_in_their_order_and_count_what_they_leave_out() -> None:
    table = grid()
    table.loc[:3, "robust_gap_pgd"] = np.nan
    table.loc[4, "pgd_accuracy_train"] = 0.05
    table = pd.concat([table, table.tail(2)])
    found = population(table, where='architecture == "plain"')
    steps = [(s.name, s.n_before, s.n_after) for s in found.filters]
    names = ["where", "no target", "duplicates", "not converged", "without Standard"]
    assert [name for name, _, _ in steps] == names
    assert all(after == before for (_, _, after), (_, before, _) in itertools.pairwise(steps))
    assert steps[0][1] == 50
    assert steps[-1][2] == len(found.y) == len(found.ids)


def test_the_same_file_with_the_same_numbers_counts_once() -> None:
    table = grid().assign(file_sha256=lambda t: t["model_id"])
    again = table.head(1).assign(model_id="copy", source="elsewhere")
    other = table.iloc[[1]].assign(model_id="other", signal=9.0)
    found = population(pd.concat([table, again, other]))
    assert found.filters[2].left_out == (("copy", "the same file with the same numbers"),)
    assert "other" in found.ids


def repeats(**changes: object) -> list[str]:
    """Return which models are left out where two runs of two checkpoints each are one network, but for ``changes``."""
    names = ["a-best", "a-last", "b-best", "b-last"]
    same = pd.DataFrame({"model_id": names, "run": ["a", "a", "b", "b"], "file_sha256": "x", "robust_gap_pgd": 0.1})
    same = same.assign(pgd_accuracy_train=0.5, signal=1.0, setting_early_stopping=[True, False] * 2)
    table = pd.concat([grid(), same.assign(**changes)], ignore_index=True)
    return [model for model, _ in population(table).filters[2].left_out]


@pytest.mark.parametrize("levels", [[True, False] * 2, ["best", "last"] * 2, [1, 0] * 2])
def test_two_checkpoints_of_a_run_that_are_one_network_both_count_whatever_the_kind_of_their_setting(
    levels: list[object],
) -> None:
    """A run is resampled as one. The network in the other run is left out: the runs would count as two."""
    assert repeats(setting_early_stopping=levels) == ["b-best", "b-last"]


def test_a_network_counts_again_in_no_other_run_whatever_setting_tells_the_runs_apart() -> None:
    for augmented in (["no", "no", "yes", "yes"], [False, False, True, True], [0, 0, 1, 1]):
        assert repeats(setting_augmentation=augmented) == ["b-best", "b-last"]


def test_a_network_that_is_listed_twice_with_the_same_settings_counts_once() -> None:
    assert repeats(setting_early_stopping=True) == ["a-last", "b-best", "b-last"]


def test_without_runs_the_same_network_counts_once() -> None:
    assert repeats(run=None) == ["a-last", "b-best", "b-last"]


def test_other_results_or_files_are_other_networks() -> None:
    assert repeats(signal=[1.0, 2.0, 3.0, 4.0]) == []
    assert repeats(file_sha256=["x", "y", "z", None]) == []
    assert repeats(signal=np.nan) == ["b-best", "b-last"]  # not measured in either


def test_one_id_on_two_different_rows_is_refused() -> None:
    table = pd.concat([grid(), grid().head(1).assign(signal=9.0)])
    with pytest.raises(BadInputError, match="model_id: expected each model once, got 'AT-plain-False-64-best'"):
        population(table)


def test_standard_models_need_not_converge_and_can_be_left_out() -> None:
    table = grid()
    table.loc[table["defense"] == "MART", ["defense", "pgd_accuracy_train"]] = ["natural", 0.0]
    table.loc[0, "pgd_accuracy_train"] = 0.149
    assert left_out(population(table)) == {
        "where": 0,
        "no target": 0,
        "duplicates": 0,
        "not converged": 1,
        "without Standard": 0,
    }
    assert left_out(population(table, exclude_standard=True))["without Standard"] == 16
    assert left_out(population(table, converged_at=0.1))["not converged"] == 0


def test_without_accuracies_or_defenses_those_filters_leave_nothing_out() -> None:
    table = grid().drop(columns=["pgd_accuracy_train", "defense"])
    found = population(table, exclude_standard=True)
    assert sum(left_out(found).values()) == 0
    assert found.defense is None


def test_fewer_than_two_models_are_refused_with_what_each_filter_left_out() -> None:
    with pytest.raises(BadInputError, match="at least two models, got 1 after the filters; where left out 47"):
        population(grid(), where='model_id == "AT-plain-False-64-best"')


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("defens == 'AT'", "did you mean 'defense'"),
        ("signal + 1", "true or false for each model"),
        ("@exit()", "an expression over columns, such as"),
        ("signal.__class__", "an expression over columns, such as"),
        ("signal >", "where: expected an expression over columns"),
        ("1 == 1", "true or false for each model"),
    ],
)
def test_an_expression_that_chooses_no_models_is_refused(expression: str, expected: str) -> None:
    with pytest.raises(BadInputError, match=expected):
        population(grid(), where=expression)


def test_a_missing_truth_value_does_not_choose_a_model() -> None:
    table = grid().assign(flag=pd.array([True, None] * 24, dtype="boolean"))
    assert len(population(table, where="flag").y) == 24


def test_models_come_in_natural_order_whatever_the_order_of_rows() -> None:
    table = grid().assign(model_id=[f"m{k}" for k in range(48)])
    found = population(table.sample(frac=1, random_state=0))
    assert found.ids == [f"m{k}" for k in range(48)]
    np.testing.assert_array_equal(found.measures["signal"], table["signal"])


def test_rows_are_named_by_an_id_a_name_or_their_number() -> None:
    table = pd.DataFrame({"x": [1, 2]})
    assert identified(table)["model_id"].tolist() == ["row 1", "row 2"]
    assert identified(table.assign(name=["a", "b"]))["model_id"].tolist() == ["a", "b"]
    assert identified(table.assign(name=["a", "a"]))["model_id"].tolist() == ["row 1", "row 2"]
    assert identified(table.assign(id=[7, 8], name=["a", "b"]))["model_id"].tolist() == ["7", "8"]
    assert identified(table.assign(model_id=["a", None]))["model_id"].tolist() == ["a", "row 2"]
    assert "model_id" not in table.columns


def test_a_column_that_comes_twice_is_refused() -> None:
    with pytest.raises(BadInputError, match="every column once, got 'x' twice"):
        identified(pd.DataFrame([[1, 2]], columns=["x", "x"]))


def test_levels_are_named_alike_whatever_their_type() -> None:
    values = [64, 64.0, np.float64(0.5), True, np.bool_(False), "SGD", None, np.nan, pd.NA, pd.NaT]
    expected = ["64", "64", "0.5", "true", "false", "SGD", *["not stated"] * 4]
    assert level_names(pd.Series(values, dtype=object)) == expected


@pytest.mark.parametrize(("name", "expected"), [("Standard", True), (" none ", True), ("ERM", True), ("AT", False)])
def test_training_without_an_attack_has_several_names(name: str, expected: bool) -> None:
    assert is_standard(name) is expected


def test_papers_are_the_unit_where_there_are_ten_else_runs_else_models() -> None:
    table = grid().assign(cluster=[f"p{k // 4}" for k in range(48)])
    found = population(table)
    assert (found.unit, found.n_units) == ("cluster", 12)
    few = population(table.assign(cluster=[f"p{k // 16}" for k in range(48)]))
    assert (few.unit, few.n_units) == ("run", 24)
    assert "3 values of cluster are too few to resample; run is the unit instead." in few.notes
    assert population(table.drop(columns=["run", "cluster"])).unit == "model_id"
    assert population(table.drop(columns=["run", "cluster"])).n_units == 48


def test_models_without_a_paper_are_resampled_by_run_and_without_a_run_alone() -> None:
    table = grid().assign(cluster=[f"p{k // 2}" if k < 24 else None for k in range(48)])
    table.loc[47, "run"] = None
    found = population(table)
    assert (found.unit, found.n_units) == ("cluster", 12 + 13)


def test_runs_that_hold_the_same_file_are_one_unit_and_a_note_names_them() -> None:
    table = grid()
    table["file_sha256"] = table["model_id"]
    one, other, third = list(dict.fromkeys(table["run"]))[2:5]
    table.loc[table["model_id"].isin([f"{one}-best", f"{other}-best"]), "file_sha256"] = "the same"
    table.loc[table["run"] == third, "file_sha256"] = "two checkpoints of one run"
    found = population(table)
    units = {run: set(found.units[found.table["run"] == run].tolist()) for run in (one, other, third)}
    assert units[one] == units[other] != units[third]
    assert found.n_units == table["run"].nunique() - 1
    told = f"Values of run that hold the same file count as one unit: {' and '.join(sorted([one, other]))}."
    assert told in found.notes


def test_runs_that_share_files_one_after_another_are_one_unit_also_where_a_row_is_left_out() -> None:
    table = grid().assign(file_sha256=None).astype({"file_sha256": object})
    first, second, third = list(dict.fromkeys(table["run"]))[:3]
    of = {run: table.index[table["run"] == run] for run in (first, second, third)}
    table.loc[[of[first][0], of[second][0]], "file_sha256"] = "a"
    table.loc[[of[second][1], of[third][0]], "file_sha256"] = "b"
    assert population(table).n_units == table["run"].nunique() - 2
    left = table.drop(index=of[second])
    assert population(left).n_units == left["run"].nunique()  # nothing tells that the others belong together
    apart = population(table, where=f"run != {second!r}")
    assert apart.n_units == left["run"].nunique() - 1


def test_too_few_runs_say_so() -> None:
    found = population(grid().assign(run=[k // 16 for k in range(48)]))
    assert found.too_few == "3 values of run are too few to resample: no intervals and no p-values"
    assert not population(grid().assign(run=[k // 12 for k in range(48)])).too_few


def test_settings_that_cannot_be_judged_are_left_out_with_the_reason() -> None:
    table = grid().assign(
        setting_one="same",
        setting_copy=lambda t: t["architecture"] + "!",
        setting_many=[f"v{k}" for k in range(48)],
        setting_gaps=["a"] * 20 + ["b"] * 20 + [None] * 8,
    )
    found = usable_settings(population(table))
    assert set(found.levels) == {
        "setting_augmentation",
        "setting_batch_size",
        "setting_stop",
        "setting_gaps",
        "setting_copy",
        "defense",
    }
    told = "\n".join(found.notes)
    assert "Setting setting_one is left out: every model has 'same'." in told
    assert "Setting architecture is left out: it divides the models exactly as setting_copy does." in told
    assert "Setting setting_many is left out: 48 levels for 48 models." in told
    assert "Setting setting_gaps is not stated for 8 models; those count as one level of it." in told


def test_the_defense_is_never_the_repetition() -> None:
    found = usable_settings(population(grid().assign(setting_method=lambda t: t["defense"])))
    assert found.defense == "defense"
    assert "setting_method" not in found.levels


def test_one_defense_alone_is_no_defense_to_compare() -> None:
    found = usable_settings(population(grid().query("defense == 'AT'")))
    assert found.defense is None
    assert "No setting varies" not in "\n".join(found.notes)
    alone = usable_settings(population(grid()[["model_id", "robust_gap_pgd", "signal"]]))
    assert "No setting varies: psi, pi and the sign error cannot be computed." in alone.notes


def test_a_column_of_the_population_is_numbers_or_none() -> None:
    found = population(grid())
    assert found.column("no such") is None
    column = found.column("pgd_accuracy_test")
    assert column is not None
    assert column.dtype == np.float64


def test_a_column_of_names_that_repeats_is_told_and_rows_are_numbered() -> None:
    table = pd.DataFrame({"model": ["a", "a", "b", "c"], "robust_gap_pgd": [0.1, 0.2, 0.3, 0.4], "x": [1.0, 2, 3, 4]})
    options = {"target": "robust_gap_pgd", "measures": ["x"], "settings": None}
    options |= {"defense": "defense", "run": "run", "cluster": "cluster"}
    found = read_population(table, **options)  # type: ignore[arg-type]
    assert found.ids == ["row 1", "row 2", "row 3", "row 4"]
    assert [note for note in found.notes if "column model has missing or repeated entries" in note] != []
    unique = read_population(table.assign(model=["a", "d", "b", "c"]), **options)  # type: ignore[arg-type]
    assert unique.ids == ["a", "b", "c", "d"]
    assert not [note for note in unique.notes if "column model" in note]
