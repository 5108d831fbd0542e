"""Many runs: side by side as one after the other, resumed run by run, failures noted, manifest complete."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from measurebench.core.errors import BadInputError
from measurebench.models import load_model, resolve
from measurebench.training.fleet import Source, train_all
from measurebench.training.grid import PlannedRun, expand

SOURCE = Source("digits")
SETTINGS = {"epochs": 1, "steps": 1, "evaluation_examples": 10, "architecture_kwargs": {"width": 4}}


def _runs(**axes) -> list[PlannedRun]:
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

    from measurebench.datasets import load_dataset

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
