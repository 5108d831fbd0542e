"""Many runs: side by side as one after the other, resumed run by run, failures noted, manifest complete."""

import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from measurebench.core.errors import BadInputError, DamageWarning, MeasurebenchError
from measurebench.core.files import TEMPORARY
from measurebench.datasets import load_dataset
from measurebench.models import load_model, resolve
from measurebench.training import trainer
from measurebench.training.fleet import Source, train_all
from measurebench.training.grid import PlannedTraining, expand
from measurebench.training.trainer import Progress

SOURCE = Source("digits")
SETTINGS = {"epochs": 1, "steps": 1, "evaluation_examples": 10, "architecture_kwargs": {"width": 4}}


def _runs(**axes) -> list[PlannedTraining]:
    return expand({"settings": SETTINGS, "axes": {"checkpoint": ["last", "best"]} | axes}, "digits", "grid")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    outcomes = train_all(_runs(defense=["Standard", "AT"]), SOURCE, folder)
    assert [outcome.status for outcome in outcomes] == ["finished", "finished"]
    return folder


def test_the_manifest_names_every_checkpoint_with_its_settings(trained) -> None:
    models = tomllib.loads((trained / "models.toml").read_text())["model"]
    assert len(models) == 4
    best = next(model for model in models if model["id"] == "resnet-at-1-b64-aug-s0-best")
    assert best["run"] == "resnet-at-1-b64-aug-s0"
    assert (best["cluster"], best["defense"], best["norm"], best["radius"]) == ("digits-resnet", "AT", "Linf", "3/20")
    assert best["settings"] == {
        "steps": 1,
        "optimizer": "SGD",
        "batch_size": 64,
        "augmentation": True,
        "extra_data": False,
        "early_stopping": True,
    }


def test_the_folder_goes_straight_into_the_loader(trained) -> None:
    specs = resolve([str(trained)])
    model = load_model(specs[0].reference)
    assert len(specs) == 4
    assert model.initial is not None
    expected = load_file(trained / "weights" / f"{specs[0].id}.safetensors")
    state = model.network.state_dict()
    assert all(np.array_equal(state[name], tensor) for name, tensor in expected.items())


def test_expected_clean_accuracy_is_that_of_the_test_images(trained) -> None:
    import torch

    spec = resolve([str(trained)])[0]
    test = load_dataset("digits").test
    with torch.no_grad():
        predicted = load_model(spec.reference).network(torch.tensor(test.images)).argmax(1).numpy()
    assert spec.expected_clean_accuracy == pytest.approx(float((predicted == test.labels).mean()))


def test_finished_runs_are_not_trained_again_and_a_lost_file_is_made_again(trained) -> None:
    runs = _runs(defense=["Standard", "AT"])
    assert [outcome.status for outcome in train_all(runs, SOURCE, trained)] == ["finished before"] * 2
    lost = trained / "weights" / f"{runs[0].name}-last.safetensors"
    before = lost.read_bytes()
    lost.unlink()
    assert [outcome.status for outcome in train_all(runs, SOURCE, trained)] == ["finished", "finished before"]
    assert lost.read_bytes() == before


def test_two_workers_write_the_same_bytes_as_one(trained, tmp_path) -> None:
    train_all(_runs(defense=["Standard", "AT"]), SOURCE, tmp_path, workers=2)
    names = {path.name for path in (trained / "weights").iterdir()}
    assert names == {path.name for path in (tmp_path / "weights").iterdir()}
    assert all((trained / "weights" / n).read_bytes() == (tmp_path / "weights" / n).read_bytes() for n in names)
    assert (trained / "models.toml").read_bytes() == (tmp_path / "models.toml").read_bytes()


def test_a_folder_keeps_the_models_of_earlier_grids(trained) -> None:
    train_all(_runs(defense=["Standard"], seed=[3]), SOURCE, trained)
    ids = [model["id"] for model in tomllib.loads((trained / "models.toml").read_text())["model"]]
    assert "resnet-standard-b64-aug-s3-best" in ids
    assert "resnet-at-1-b64-aug-s0-last" in ids


def test_a_run_that_fails_is_noted_and_the_others_go_on(tmp_path) -> None:
    runs = expand(
        {
            "settings": SETTINGS,
            "runs": [
                {"defense": "Standard", "architecture": "digits-plain", "learning_rate": 1e30, "epochs": 2, "seed": 1},
                {"defense": "Standard"},
            ],
        },
        "digits",
        "grid",
    )
    heard: list[str] = []
    outcomes = train_all(runs, SOURCE, tmp_path, on_run=lambda outcome, *_: heard.append(outcome.status))
    assert [outcome.status for outcome in outcomes] == heard == ["failed", "finished"]
    assert "diverged" in outcomes[0].reason
    assert "diverged" in json.loads((tmp_path / "runs" / f"{runs[0].name}.json").read_text())["reason"]
    assert len(tomllib.loads((tmp_path / "models.toml").read_text())["model"]) == 1


def test_a_run_of_the_same_name_with_other_settings_is_refused(trained) -> None:
    runs = expand({"runs": [{"defense": "Standard", "epochs": 7}]}, "digits", "grid")
    with pytest.raises(BadInputError, match="one of the same name with others"):
        train_all(runs, SOURCE, trained)


def test_curves_and_states(trained) -> None:
    lines = (trained / "runs" / "resnet-at-1-b64-aug-s0.csv").read_text().splitlines()
    assert lines[0].startswith("epoch,learning_rate,loss,train_clean_accuracy,train_pgd_accuracy,validation_clean")
    assert len(lines) == 2
    assert not list((trained / "states").glob("*.pt"))


def test_a_failed_run_can_be_tried_with_other_settings(tmp_path) -> None:
    wild = {"learning_rate": 1e30, "epochs": 3, "defense": "Standard", "architecture": "digits-plain"}
    common = {"evaluation_examples": 10}
    (outcome,) = train_all(expand({"runs": [common | wild]}, "digits", "grid"), SOURCE, tmp_path)
    assert outcome.status == "failed"
    tame = expand({"runs": [common | wild | {"learning_rate": 0.01, "epochs": 1}]}, "digits", "grid")
    assert [outcome.status for outcome in train_all(tame, SOURCE, tmp_path)] == ["finished"]


def test_the_state_of_other_settings_is_refused_before_anything_is_written(tmp_path) -> None:
    class StopError(BaseException):
        """Stands for a kill."""

    def stop(progress: Progress, _epochs: int) -> None:
        if progress.epoch == 2:
            raise StopError

    def runs(**changed: Any) -> list[PlannedTraining]:
        return expand({"runs": [SETTINGS | {"defense": "Standard", "epochs": 3} | changed]}, "digits", "grid")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "SAVE_EVERY_SECONDS", 0.0)
        with pytest.raises(StopError):
            train_all(runs(), SOURCE, tmp_path, on_epoch=stop)
    curves = (tmp_path / "runs" / f"{runs()[0].name}.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in curves] == ["epoch", "1", "2"]
    with pytest.raises(BadInputError, match="a training state of these settings and images, got one of others"):
        train_all(runs(weight_decay=0.0), SOURCE, tmp_path)
    epochs: list[int] = []
    outcomes = train_all(runs(), SOURCE, tmp_path, on_epoch=lambda progress, _: epochs.append(progress.epoch))
    assert [outcome.status for outcome in outcomes] == ["finished"]
    assert epochs == [2, 3]


def test_a_damaged_state_is_named(tmp_path) -> None:
    runs = _runs(defense=["Standard"])
    (tmp_path / "states").mkdir()
    (tmp_path / "states" / f"{runs[0].name}.pt").write_bytes(b"torn")
    with pytest.raises(BadInputError, match=r"states.*\.pt: expected a training state, got .*remove the file to train"):
        train_all(runs, SOURCE, tmp_path)


def test_a_folder_with_models_of_another_dataset_is_refused(trained, tmp_path) -> None:
    train, test = load_dataset("digits").train, load_dataset("digits").test
    arrays = {"x_train": train.images, "y_train": train.labels, "x_test": test.images, "y_test": test.labels}
    np.savez(tmp_path / "own.npz", **arrays)
    own = Source(f"arrays:{tmp_path / 'own.npz'}")
    with pytest.raises(BadInputError, match="expected models of .*, got models of digits; choose another --out"):
        train_all(_runs(defense=["MART"], beta=[5.0]), own, trained)


OWN_NETWORK = """
from torch import nn

def make(fail=False):
    if fail:
        return Broken()
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(__import__("torch").zeros(1))

    def forward(self, x):
        raise KeyError("nothing here")
"""


def test_a_network_of_the_users_own_file_loads_from_the_folder(tmp_path, monkeypatch) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.py").write_text(OWN_NETWORK)
    monkeypatch.chdir(tmp_path)
    own = {"architecture": "code/mine.py:make", "defense": "Standard", "architecture_kwargs": {}}
    runs = expand({"runs": [SETTINGS | own]}, "digits", "grid")
    assert [outcome.status for outcome in train_all(runs, SOURCE, tmp_path / "out")] == ["finished"]
    monkeypatch.chdir(tmp_path / "code")
    (spec,) = resolve([str(tmp_path / "out")])
    assert spec.architecture == "mine.py:make"
    assert load_model(spec.reference).n_parameters == 650
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code" / "mine.py").write_text(OWN_NETWORK + "\n")
    with pytest.raises(BadInputError, match="with these settings and images"):
        train_all(runs, SOURCE, tmp_path / "out")


def test_whatever_a_users_network_raises_is_noted_and_the_others_go_on(tmp_path, monkeypatch) -> None:
    (tmp_path / "mine.py").write_text(OWN_NETWORK)
    monkeypatch.chdir(tmp_path)
    broken = {"architecture": "mine.py:make", "architecture_kwargs": {"fail": True}}
    runs = expand({"runs": [SETTINGS | {"defense": "Standard"} | own for own in (broken, {})]}, "digits", "grid")
    outcomes = train_all(runs, SOURCE, tmp_path / "out")
    assert [outcome.status for outcome in outcomes] == ["failed", "finished"]
    assert "KeyError" in outcomes[0].reason


PARENT = """
import sys
from pathlib import Path
from measurebench.training.fleet import Source, train_all
from measurebench.training.grid import expand
if __name__ == "__main__":
    settings = {"epochs": 1000, "evaluate_every": 1000}
    runs = expand({"settings": settings, "axes": {"defense": ["Standard", "AT"]}}, "digits", "grid")
    train_all(runs, Source("digits"), Path(sys.argv[1]), workers=2)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the children of a process are read from /proc")
def test_workers_end_with_a_parent_that_was_killed(tmp_path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "out")]
    with subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        until(lambda: len(children.read_text().split()) >= 3)  # two workers and multiprocessing's own helper
        workers = children.read_text().split()
        time.sleep(3)
        parent.kill()
    until(lambda: not alive(workers))
    assert alive(workers) == []


def alive(processes: list[str]) -> list[str]:
    """Return which of these process numbers are in use."""
    return [process for process in processes if Path(f"/proc/{process}").exists()]


def until(done: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.1)


def _flip(path: Path, place: int = -9) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 16
    path.write_bytes(content)


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _copied(trained: Path, tmp_path: Path) -> Path:
    import shutil

    shutil.copytree(trained, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("damage", [_flip, _emptied])
@pytest.mark.parametrize(
    "name", ["weights/resnet-at-1-b64-aug-s0-best.safetensors", "runs/resnet-at-1-b64-aug-s0.json"]
)
def test_a_finished_run_whose_files_were_damaged_is_trained_again(
    damage: Callable, name: str, trained: Path, tmp_path: Path
) -> None:
    folder = _copied(trained, tmp_path)
    damage(folder / name)
    with pytest.warns(DamageWarning, match=name):
        outcomes = train_all(_runs(defense=["Standard", "AT"]), SOURCE, folder)
    assert [outcome.status for outcome in outcomes] == ["finished before", "finished"]
    files = (*(trained / "weights").iterdir(), trained / "models.toml")
    assert all((folder / path.relative_to(trained)).read_bytes() == path.read_bytes() for path in files)


def test_damaged_initial_weights_are_made_again(trained: Path, tmp_path: Path) -> None:
    folder = _copied(trained, tmp_path)
    initial = sorted((folder / "weights").glob("initial-*"))[0]
    before = initial.read_bytes()
    _flip(initial)
    with pytest.warns(DamageWarning, match="initial-"):
        train_all(_runs(defense=["Standard", "AT"]), SOURCE, folder)
    assert initial.read_bytes() == before


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"run": 1}', "null", '{"run": "x", "dataset": "digits", "status": "finished"}']
)
def test_broken_summaries_of_other_runs_do_not_block_the_folder(text: str, trained: Path, tmp_path: Path) -> None:
    folder = _copied(trained, tmp_path)
    (folder / "runs" / "other.json").write_text(text)
    with pytest.warns(DamageWarning, match=r"other\.json is damaged and not used"):
        outcomes = train_all(_runs(defense=["Standard", "AT"]), SOURCE, folder)
    assert [outcome.status for outcome in outcomes] == ["finished before"] * 2


def test_what_a_kill_left_half_written_is_removed(trained: Path, tmp_path: Path) -> None:
    folder = _copied(trained, tmp_path)
    left = [folder / name / f".0123456789abcdef{TEMPORARY}" for name in (".", "weights", "runs", "states")]
    for path in left:
        path.write_text("half")
    train_all(_runs(defense=["Standard", "AT"]), SOURCE, folder)
    assert not any(path.exists() for path in left)


def test_summaries_of_earlier_versions_have_no_checksum_and_are_read(trained: Path, tmp_path: Path) -> None:
    folder = _copied(trained, tmp_path)
    for path in (folder / "runs").glob("*.json"):
        summary = json.loads(path.read_text())
        for name in ("checksum", "initial_sha256", "curves_sha256"):
            del summary[name]
        path.write_text(json.dumps(summary))
    outcomes = train_all(_runs(defense=["Standard", "AT"]), SOURCE, folder)
    assert [outcome.status for outcome in outcomes] == ["finished before"] * 2


@pytest.mark.parametrize("fault", [MemoryError(), OSError(28, "No space left on device")])
def test_a_fault_of_the_machine_is_no_property_of_a_run(
    fault: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from measurebench.core.machine_faults import machine_fault

    def fail(*_: object) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(trainer.TrainingRun, "epoch", fail)
        with pytest.raises((MeasurebenchError, OSError)) as caught:
            train_all(_runs(defense=["Standard"]), SOURCE, tmp_path)
    assert machine_fault(caught.value) is not None
    assert not list((tmp_path / "runs").glob("*"))


def test_a_network_that_ends_the_process_is_a_failed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(*_: object) -> None:
        raise SystemExit(0)

    monkeypatch.setattr(trainer.TrainingRun, "epoch", leave)
    (outcome,) = train_all(_runs(defense=["Standard"]), SOURCE, tmp_path)
    assert (outcome.status, outcome.reason) == ("failed", "SystemExit: 0")
