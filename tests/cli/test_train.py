"""``measurebench train`` as a user types it: one model, a grid, and what is refused."""

import re
import tomllib
from pathlib import Path

import pytest

from measurebench.cli.app import run_command_line
from measurebench.models import load_model, resolve

GRID = """
[settings]
epochs = 1
steps = 1
evaluation_examples = 10
architecture_kwargs = { width = 4 }
[axes]
defense = ["Standard", "AT"]
checkpoint = ["last", "best"]
"""


@pytest.fixture
def grid(tmp_path: Path) -> str:
    (tmp_path / "grid.toml").write_text(GRID)
    return str(tmp_path / "grid.toml")


def test_one_readable_command_trains_a_model_that_loads(tmp_path, capsys) -> None:
    out = tmp_path / "trades"
    command = f"train --defense TRADES --awp global --steps 1 --epochs 1 --no-augmentation --extra-data own --out {out}"
    assert run_command_line(command.split()) == 0
    assert capsys.readouterr().out.startswith("1 of 1 runs trained; `measurebench run ")
    model = load_model(resolve([str(out)])[0].reference)
    settings = model.spec.settings
    assert (model.spec.defense, settings["optimizer"], settings["steps"]) == ("TRADES", "AWP", 1)
    assert (settings["augmentation"], settings["extra_data"]) == (False, True)
    assert {spec.settings["early_stopping"] for spec in resolve([str(out)])} == {True, False}


def test_a_grid_trains_what_only_names(grid, tmp_path) -> None:
    out = tmp_path / "out"
    assert run_command_line(["train", "--grid", grid, "--only", "*standard*", "--out", str(out)]) == 0
    models = tomllib.loads((out / "models.toml").read_text())["model"]
    assert [model["defense"] for model in models] == ["Standard", "Standard"]


def test_the_plan_lists_runs_and_trains_nothing(grid, tmp_path, capsys) -> None:
    assert run_command_line(["train", "--grid", grid, "--plan", "--out", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "resnet-standard-b64-aug-s0  last best",
        "resnet-at-1-b64-aug-s0  last best",
        "2 runs, 4 checkpoints",
    ]
    assert not (tmp_path / "none").exists()


def test_shards_share_the_runs_without_overlap(grid, tmp_path, capsys) -> None:
    names = []
    for shard in ("1/2", "2/2"):
        assert run_command_line(["train", "--grid", grid, "--plan", "--shard", shard, "--out", str(tmp_path)]) == 0
        names.append(capsys.readouterr().out.splitlines()[0].split()[0])
    assert names == ["resnet-standard-b64-aug-s0", "resnet-at-1-b64-aug-s0"]


def test_a_long_run_tells_of_its_epochs_and_a_grid_of_its_runs(grid, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("measurebench.cli.train.QUIET_SECONDS", 0.0)
    one = ["--defense", "Standard", "--epochs", "2", "--no-augmentation", "--out", str(tmp_path / "one")]
    assert run_command_line(["train", *one]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert re.fullmatch(
        r"epoch 1/2: loss \d\.\d{3}, validation accuracy 0\.\d{3} clean and 0\.\d{3} under PGD, about \d+ s left",
        lines[0],
    )
    assert run_command_line(["train", "--grid", grid, "--workers", "1", "--out", str(tmp_path / "many")]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["1/2 resnet-standard-b64-aug-s0", "2/2 resnet-at-1-b64-aug-s0"]


def test_a_failed_run_is_told_and_ends_with_status_1(tmp_path, capsys) -> None:
    command = ["train", "--defense", "Standard", "--architecture", "digits-plain", "--learning-rate", "1e30"]
    assert run_command_line([*command, "--epochs", "2", "--out", str(tmp_path / "x")]) == 1
    captured = capsys.readouterr()
    assert "failed: plain-standard-b64-aug-s0: ModelError: training diverged" in captured.err
    assert captured.out.startswith("0 of 1 runs trained")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected --defense (Standard, AT, TRADES or MART) or --grid FILE, got neither"),
        (["--defense", "Trades"], "did you mean 'TRADES'"),
        (["--defense", "AT", "--radius", "8"], "measurebench: radius: expected a Linf radius"),
        (["--defense", "AT", "--beta", "6"], "only TRADES and MART have one"),
        (
            ["--defense", "AT", "--workers", "many"],
            "--workers: expected auto or a whole number, at least 1, got 'many'",
        ),
        (["--defense", "AT", "--shard", "3/2"], "--shard: expected I/N"),
        (["--defense", "AT", "--device", "gpu"], "--device: expected auto, cpu, cuda or cuda:i, got 'gpu'"),
        (["--defense", "AT", "--dataset", "digit"], "dataset: expected"),
        (["--defense", "AT", "--architecture", "digits-resnett"], "did you mean 'digits-resnet'"),
        (["--grid", "none.toml"], "none.toml: expected a grid file, got no such file"),
        (
            ["--defense", "AT", "--awp-size", "0.01"],
            "--awp-size: expected --awp layerwise or --awp global beside it, got no --awp",
        ),
        (["--defense", "AT", "--clip-norm", "-1"], "clip_norm: expected a number of at least 0, got -1.0"),
        (["--defense", "AT", "--precision", "mixed", "--device", "cpu"], "precision = mixed: expected a CUDA device"),
        (
            ["--grid", "none.toml", "--checkpoint", "best"],
            "all settings in the grid file, got --checkpoint on the command",
        ),
        (["--grid", "none.toml", "--epochs", "3"], "all settings in the grid file, got --epochs on the command line"),
    ],
)
def test_bad_input_ends_with_one_plain_message_and_status_2(arguments, message, tmp_path, capsys) -> None:
    assert run_command_line(["train", *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_an_output_folder_that_is_a_file_is_refused(tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    assert run_command_line(["train", "--defense", "Standard", "--epochs", "1", "--out", str(tmp_path / "file")]) == 2
    assert "a folder that can be written to" in capsys.readouterr().err
