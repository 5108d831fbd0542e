"""Grids: what a file means, run by run, and what is refused."""

from collections import Counter

import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.paths import data_folder
from measurebench.training.grid import expand, read_grid


def _grid(**tables) -> list:
    return expand(tables, "digits", "grid.toml")


def test_axes_give_every_combination_in_the_order_of_the_file() -> None:
    runs = _grid(axes={"defense": ["AT", "Standard"], "batch_size": [32, 64]})
    assert [run.name for run in runs] == [
        "resnet-at-10-b32-aug-s0",
        "resnet-at-10-b64-aug-s0",
        "resnet-standard-b32-aug-s0",
        "resnet-standard-b64-aug-s0",
    ]


def test_an_axis_that_does_not_apply_makes_equal_runs_one() -> None:
    rule = {"when": {"defense": "Standard"}, "drop": ["steps"]}
    runs = _grid(axes={"defense": ["AT", "Standard"], "steps": [1, 10]}, rules=[rule])
    assert [(run.config.defense, run.config.steps) for run in runs] == [("AT", 1), ("AT", 10), ("Standard", 0)]


def test_rules_set_what_runs_do_not_say_themselves() -> None:
    rule = {"when": {"defense": "TRADES"}, "set": {"beta": 6.0, "epochs": 9}}
    runs = _grid(runs=[{"defense": "TRADES"}, {"defense": "TRADES", "epochs": 2, "seed": 1}], rules=[rule])
    assert [(run.config.beta, run.config.epochs) for run in runs] == [(6.0, 9), (6.0, 2)]


def test_skipped_runs_are_left_out() -> None:
    rule = {"when": {"defense": "AT", "batch_size": 32}, "skip": True}
    runs = _grid(axes={"defense": ["AT", "Standard"], "batch_size": [32, 64]}, rules=[rule])
    assert len(runs) == 3


def test_a_run_met_twice_keeps_the_checkpoints_of_both() -> None:
    runs = _grid(axes={"defense": ["AT"]}, runs=[{"defense": "AT", "checkpoint": ["best"]}])
    assert [(run.name, run.checkpoints) for run in runs] == [("resnet-at-10-b64-aug-s0", ("last", "best"))]


def test_two_different_runs_of_one_name_are_refused() -> None:
    with pytest.raises(BadInputError, match="two different runs called"):
        _grid(runs=[{"defense": "AT", "epochs": 3}, {"defense": "AT", "epochs": 4}])


def test_further_axes_stand_in_the_name() -> None:
    runs = _grid(axes={"defense": ["AT"], "epochs": [3, 4], "milestones": [[0.5], [0.5, 0.75]]})
    assert runs[-1].name == "resnet-at-10-b64-aug-s0-epochs-4-milestones-0.5x0.75"


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"axis": {}}, r"a key of the file: expected a name that is known here, got 'axis'; did you mean 'axes'"),
        (
            {"axes": {"defence": ["AT"]}},
            r"axes: expected a name that is known here, got 'defence'; did you mean 'defense'",
        ),
        ({"runs": [{"defense": "AT", "step": 3}]}, r"runs, number 1: .*'step'; did you mean 'steps'"),
        ({"runs": [{"defense": "At"}]}, r"runs, number 1: defense: expected Standard, AT, TRADES, MART, got 'At'"),
        ({"runs": [{"defense": "AT"}], "rules": [{"drop": ["steps"]}]}, r"rules, number 1: expected the key 'when'"),
        ({"axes": {"defense": ["AT"], "checkpoint": ["worst"]}}, r"checkpoint: expected last, best, or both"),
        (
            {"runs": [{"defense": "AT"}], "rules": [{"when": {"defense": "AT"}, "set": {"checkpoint": "best"}}]},
            r"rules, number 1: set: expected settings of a run, got 'checkpoint', which names what is kept",
        ),
        (
            {"dataset": "cifar10", "runs": [{"defense": "AT"}]},
            r"dataset: expected a grid for digits, got one for 'cifar10'",
        ),
        ({"axes": ["AT"]}, r"axes: expected a table, got list"),
        ({}, r"expected at least one run"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused_in_words(tables, message) -> None:
    with pytest.raises(BadInputError, match=message):
        expand(tables, "digits", "grid.toml")


def test_a_file_that_is_not_there_and_one_that_is_not_toml_are_named(tmp_path) -> None:
    with pytest.raises(BadInputError, match="no such file"):
        read_grid(tmp_path / "grid.toml", "digits")
    (tmp_path / "grid.toml").write_text("axes = [")
    with pytest.raises(BadInputError, match="valid TOML"):
        read_grid(tmp_path / "grid.toml", "digits")


@pytest.mark.parametrize("dataset", ["digits", "cifar10"])
def test_the_study_is_1344_checkpoints_of_672_runs(dataset) -> None:
    """3 architectures x (1 + 3 x 2) defenses and steps x 2 optimizers x 4 batch sizes x 2 x 2, each last and best."""
    runs = read_grid(data_folder(dataset, "study.toml"), dataset)
    assert len(runs) == 3 * (1 + 3 * 2) * 2 * 4 * 2 * 2 == 672
    assert sum(len(run.checkpoints) for run in runs) == 1344
    assert len({run.name for run in runs}) == 672
    assert Counter(run.config.defense for run in runs) == {"Standard": 96, "AT": 192, "TRADES": 192, "MART": 192}
    assert Counter(run.config.steps for run in runs) == {0: 96, 1: 288, 10: 288}
    for axis in ("optimizer", "augmentation", "extra_data"):
        assert sorted(Counter(getattr(run.config, axis) for run in runs).values()) == [336, 336]
    assert sorted(Counter(run.config.batch_size for run in runs).values()) == [168] * 4
    assert sorted(Counter(run.config.architecture for run in runs).values()) == [224] * 3


def test_the_zoo_has_all_defenses_on_three_architectures() -> None:
    runs = read_grid(data_folder("digits", "zoo.toml"), "digits")
    assert {run.config.defense for run in runs} == {"Standard", "AT", "TRADES", "MART"}
    assert len({run.config.architecture for run in runs}) == 3
    assert sum(len(run.checkpoints) for run in runs) >= 24
