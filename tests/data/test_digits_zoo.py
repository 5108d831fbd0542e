"""The shipped zoo: complete, small, told apart by settings, and its models do what their manifest says."""

import tomllib
from collections import Counter

import pytest
import torch

from measurebench.core.paths import data_folder
from measurebench.datasets import load_dataset
from measurebench.models import load_model, resolve
from measurebench.training.grid import read_grid
from measurebench.training.scores import score

MODELS = tomllib.loads(data_folder("digits", "models.toml").read_text())["model"]


def test_all_defenses_and_architectures_are_there_with_and_without_augmentation() -> None:
    assert len(MODELS) >= 24
    assert set(Counter(model["defense"] for model in MODELS)) == {"Standard", "AT", "TRADES", "MART"}
    plain = {(m["defense"], m["architecture"]) for m in MODELS if not m["settings"]["augmentation"]}
    augmented = {(m["defense"], m["architecture"]) for m in MODELS if m["settings"]["augmentation"]}
    assert len(plain) == 4 * 3
    assert len(augmented) == 4 * 3 - 3


def test_weight_perturbation_and_early_stopping_are_there() -> None:
    assert sum(model["settings"]["optimizer"] == "AWP" for model in MODELS) == 2
    runs = Counter(model["run"] for model in MODELS)
    assert sum(count == 2 for count in runs.values()) == 2


def test_the_manifest_holds_exactly_what_the_grid_file_means() -> None:
    planned = read_grid(data_folder("digits", "zoo.toml"), "digits")
    assert {f"{run.name}-{name}" for run in planned for name in run.checkpoints} == {m["id"] for m in MODELS}


def test_the_zoo_is_small() -> None:
    files = [path for path in data_folder("digits").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 5e6
    assert {path.suffix for path in data_folder("digits", "weights").iterdir()} == {".safetensors"}


@pytest.fixture(scope="module")
def scores() -> dict[str, tuple[float, float, float]]:
    """Clean test accuracy and PGD accuracy on training and test images of six models that tell the story."""
    dataset, found = load_dataset("digits"), {}
    for name in STORY:
        spec = resolve([f"digits:{name}"])[0]
        network = load_model(spec.reference).network
        train = score(network, dataset.train, spec.threat_model, 0, "cpu")
        test = score(network, dataset.test, spec.threat_model, 0, "cpu")
        found[name] = (test.clean_accuracy, train.pgd_accuracy, test.pgd_accuracy)
    return found


STORY = (
    "resnet-standard-b64-s0-last",
    "resnet-at-10-b64-s0-last",
    "resnet-at-10-b64-s0-best",
    "resnet-at-10-awp-b64-s0-last",
    "resnet-at-10-b64-aug-s0-last",
    "preact-at-1-b64-s0-last",
)


def test_clean_accuracy_is_the_manifests(scores) -> None:
    expected = {model["id"]: model["expected_clean_accuracy"] for model in MODELS}
    for name, (clean, _, _) in scores.items():
        assert clean == pytest.approx(expected[name], abs=3 / 940)


def test_adversarial_training_beats_standard_training_by_far_under_attack(scores) -> None:
    assert scores["resnet-standard-b64-s0-last"][2] < 0.1
    assert scores["resnet-at-10-b64-s0-last"][2] > 0.65


def test_weight_perturbation_and_augmentation_shrink_the_gap(scores) -> None:
    gap = {name: train - test for name, (_, train, test) in scores.items()}
    largest = gap["resnet-at-10-b64-s0-last"]
    assert largest > 0.19
    assert gap["resnet-at-10-awp-b64-s0-last"] < largest - 0.01
    assert gap["resnet-at-10-b64-aug-s0-last"] < largest - 0.1


def test_the_best_checkpoint_is_as_good_on_test_images_as_the_last(scores) -> None:
    last, best = (scores[f"resnet-at-10-b64-s0-{which}"][2] for which in ("last", "best"))
    assert best == pytest.approx(last, abs=0.03)


def test_gaps_spread_from_zero_to_a_quarter(scores) -> None:
    gaps = [train - test for _, train, test in scores.values()]
    assert min(gaps) < 0.02
    assert max(gaps) > 0.22


def test_every_model_loads_and_tells_its_initial_weights() -> None:
    image = torch.rand(2, 1, 8, 8)
    for model in MODELS:
        loaded = load_model(f"digits:{model['id']}")
        assert loaded.initial is not None
        assert loaded.network(image).shape == (2, 10)
        assert not torch.equal(loaded.initial(image), loaded.network(image))
