"""What a new user gets wrong: one plain message, exit status 2, nothing lost, nothing executed."""

import errno
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from measurebench.cli.app import run_command_line

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def models(manifest: Path, tmp_path: Path) -> Path:
    """Return a copy of one model with its manifest, to be spoilt."""
    folder = tmp_path / "models"
    shutil.copytree(manifest.parent, folder)
    text = (folder / "models.toml").read_text()
    (folder / "models.toml").write_text("[[model]]" + text.split("[[model]]")[1])
    return folder


@pytest.fixture
def measure(models: Path, images_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a call of ``measurebench run`` that gives exit status and stderr, which must be plain."""

    def call(*more: str, dataset: str = f"arrays:{images_file}", out: Path = tmp_path / "out") -> tuple[int, str]:
        arguments = ["run", str(models), "--dataset", dataset, "--out", str(out), "--workers", "1"]
        status = run_command_line([*arguments, "--attacks", "pgd", "--measures", "average_ce", *more])
        errors = capsys.readouterr().err
        assert "Traceback" not in errors
        assert errors.count("\n") == (1 if status or ": warning: " in errors else 0)
        return status, errors

    return call


def edit(models: Path, old: str, new: str) -> None:
    text = (models / "models.toml").read_text()
    assert old in text
    (models / "models.toml").write_text(text.replace(old, new))


def test_a_good_model_passes(measure: Run) -> None:
    assert measure() == (0, "")


def test_a_misspelt_key_of_the_manifest(models: Path, measure: Run) -> None:
    edit(models, "architecture_kwargs", "architecture_kwarg")
    status, message = measure()
    assert status == 2
    assert "models.toml" in message
    assert "'architecture_kwarg'" in message
    assert "architecture_kwargs" in message


def test_a_missing_file(models: Path, measure: Run) -> None:
    (models / "net0.pt").unlink()
    status, message = measure()
    assert status == 2
    assert "net0.pt" in message


def test_a_wrong_architecture(models: Path, measure: Run) -> None:
    edit(models, "{ width = 4 }", "{ width = 7 }")
    status, message = measure()
    assert status == 2
    assert "[4, 1, 3, 3]" in message
    assert "[7, 1, 3, 3]" in message


def test_transposed_weights(models: Path, measure: Run) -> None:
    state = torch.load(models / "net0.pt")
    state["state_dict"]["5.weight"] = state["state_dict"]["5.weight"].T.contiguous()
    torch.save(state, models / "net0.pt")
    status, message = measure()
    assert status == 2
    assert "transposed" in message


def test_a_page_saved_as_a_checkpoint(models: Path, measure: Run) -> None:
    (models / "net0.pt").write_text("<!DOCTYPE html><html><body>Too many users have downloaded this file</body></html>")
    status, message = measure()
    assert status == 2
    assert "HTML" in message


def pickle_to(value: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(value))


class _Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(("save", "words"), [(torch.save, "mkdir"), (pickle_to, "was not opened")])
def test_a_pickle_that_would_run_code_runs_nothing(
    models: Path, measure: Run, tmp_path: Path, save: Callable[[object, Path], None], words: str
) -> None:
    save({"state_dict": _Canary(tmp_path / "canary")}, models / "net0.pt")
    status, message = measure()
    assert status == 2
    assert words in message
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(("scale", "hint"), [(255.0, "255"), (-1.0, "")])
def test_images_outside_the_box(measure: Run, images_file: Path, tmp_path: Path, scale: float, hint: str) -> None:
    arrays = dict(np.load(images_file))
    np.savez(tmp_path / "bad.npz", **(arrays | {"x_test": arrays["x_test"] * scale}))
    status, message = measure(dataset=f"arrays:{tmp_path / 'bad.npz'}")
    assert status == 2
    assert "[0, 1]" in message
    assert hint in message


@pytest.mark.parametrize(("network", "words"), [("probabilities", "probabilities"), ("training_mode", "training mode")])
def test_a_network_that_is_not_ready(models: Path, measure: Run, network: str, words: str) -> None:
    namespace: dict = {}
    exec((models / "nets.py").read_text(), namespace)
    torch.save({"state_dict": namespace[network]().state_dict()}, models / "net0.pt")
    edit(models, "nets.py:small", f"nets.py:{network}")
    edit(models, "architecture_kwargs = { width = 4 }", "")
    status, message = measure()
    assert status == 2
    assert words in message


def test_a_radius_in_grey_levels(measure: Run) -> None:
    status, message = measure("--radius", "8")
    assert status == 2
    assert message.endswith("did you mean 8/255?\n")


def test_an_unknown_measure(measure: Run) -> None:
    status, message = measure("--measures", "averge_ce")
    assert status == 2
    assert "did you mean" in message
    assert "'average_ce'" in message


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--attacks", "pdg", "pgd, square, none or module:callable"),
        ("--attacks", "no_such_module:attack", "no_such_module"),
        ("--train-examples", "0", "at least 1"),
        ("--batch-size", "many", "auto or a whole number"),
        ("--workers", "-1", "auto or a whole number"),
        ("--precision", "double", "exact or fast"),
        ("--device", "tpu", "auto, cpu, cuda or cuda:i"),
        ("--norm", "L3", "Linf or L2"),
        ("--radius", "1e400", "a number or a fraction"),
        ("--shard", "3/2", "I/N"),
        ("--config", "missing.toml", "missing.toml"),
        ("--split", "validation", "train, test or both"),
    ],
)
def test_options_that_cannot_be(measure: Run, option: str, value: str, words: str) -> None:
    status, message = measure(option, value)
    assert status == 2
    assert words in message


def test_an_unknown_dataset(measure: Run) -> None:
    status, message = measure(dataset="cifar-10")
    assert status == 2
    assert "cifar10" in message


def test_a_folder_that_another_version_wrote(measure: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "measurebench.json").write_text('{"format": 99, "version": "9.0"}')
    status, message = measure()
    assert status == 2
    assert "format 99" in message


def test_a_damaged_journal_is_told_and_a_torn_one_goes_on(measure: Run, tmp_path: Path) -> None:
    assert measure()[0] == 0
    journal = tmp_path / "out" / "records.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[: len(whole) // 2])
    assert measure()[0] == 0
    journal.write_bytes(b"{broken\n" + whole)
    status, message = measure()
    assert status == 0
    assert "records.jsonl, line 1 is damaged and not used" in message
    assert journal.read_bytes() == whole
    assert journal.with_name("records.jsonl.damaged").read_bytes() == b"{broken\n"
    assert "damaged" not in measure()[1]


def test_a_full_disk(measure: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert measure()[0] == 0
    journal = tmp_path / "out" / "records.jsonl"
    before = journal.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    status, message = measure("--seed", "1")
    assert status == 1
    assert "the disk is full" in message
    assert journal.read_bytes() == before


def test_a_folder_that_cannot_be_written_to(measure: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: object, **_options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)
    status, message = measure(out=tmp_path / "closed")
    assert status == 2
    assert "expected a folder that can be written to, got Permission denied" in message


def test_options_of_a_file_are_checked_like_those_of_the_command_line(measure: Run, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text("train-example = 10\n")
    status, message = measure("--config", str(config))
    assert status == 2
    assert "did you mean 'train_examples'" in message
    config.write_text("train-examples = 10\n")
    assert measure("--config", str(config)) == (0, "")
    assert '"n": 10' in (tmp_path / "out" / "records.jsonl").read_text()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("norm = 2", "Linf or L2, got '2'"),
        ("precision = 1", "exact or fast"),
        ('autoattack-examples = "ten"', "a whole number, at least 1, got 'ten'"),
        ("autoattack-examples = true", "a whole number, at least 1, got True"),
        ("radius = inf", "a number or a fraction"),
    ],
)
def test_a_value_of_the_wrong_type_in_a_file(measure: Run, tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "run.toml").write_text(line)
    status, message = measure("--config", str(tmp_path / "run.toml"))
    assert status == 2
    assert words in message


def test_numbers_in_a_file_that_belong_there(measure: Run, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('radius = 0.05\nautoattack_examples = 5\nbatch_size = 8\nnorm = "linf"\n')
    assert measure("--config", str(tmp_path / "run.toml")) == (0, "")


def test_an_unknown_command_gets_a_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["mesures"]) == 2
    assert "did you mean 'measures'" in capsys.readouterr().err


def test_a_missing_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["run", "digits:*", "--out", "x"]) == 2
    assert "--dataset" in capsys.readouterr().err


def test_help_and_import_need_none_of_the_heavy_packages() -> None:
    heavy = ("torch", "pandas", "altair", "robustbench", "statsmodels", "scipy", "numpy")
    code = (
        "import sys, measurebench; from measurebench.cli.app import run_command_line; run_command_line(['--help']);"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "leaderboard" in done.stdout


@pytest.mark.parametrize("command", ["agreement", "attack", "check", "train"])
def test_a_command_that_takes_one_radius_promises_no_more(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line([command, "--help"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "--radius R Largest perturbation" in words
    assert "several are measured" not in words
