"""One training run: deterministic, resumable to the bit, its options acting, its best checkpoint truly the best."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from measurebench.core.errors import BadInputError, ModelError
from measurebench.datasets import Dataset, load_dataset
from measurebench.datasets.base import ImageSplit
from measurebench.training.scores import score
from measurebench.training.trainer import Progress, Trained, TrainingRun, fitting_and_validation, initial_network, train
from measurebench.training.training_config import TrainingConfig, recipe

QUICK = {"epochs": 2, "batch_size": 50, "steps": 2, "evaluation_examples": 20, "architecture_kwargs": {"width": 4}}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """The digits with fewer images, for speed."""
    whole = load_dataset("digits")
    return replace(whole, train=whole.train.first(100), test=whole.test.first(100))


def _config(**settings) -> TrainingConfig:
    return TrainingConfig.from_mapping(recipe("digits") | {"defense": "AT"} | QUICK | settings, "test")


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


class StopError(Exception):
    """Ends a training from within."""


def stop_at(epoch: int) -> Callable[[Progress], None]:
    """Stop when this epoch has ended, before its state is saved."""

    def stop(progress: Progress) -> None:
        if progress.epoch == epoch:
            raise StopError

    return stop


@pytest.fixture(scope="module")
def plain_run(digits) -> Trained:
    return train(_config(), digits)


def test_the_same_settings_give_the_same_weights(digits, plain_run) -> None:
    again = train(_config(), digits)
    assert _same(again.last, plain_run.last)
    assert again.curves == plain_run.curves


def test_training_leaves_the_global_random_state_alone(digits) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(_config(epochs=1), digits)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": 1},
        {"steps": 1},
        {"radius": "1/20"},
        {"norm": "L2", "radius": "1/2"},
        {"defense": "Standard"},
        {"defense": "TRADES", "beta": 6.0},
        {"defense": "TRADES", "beta": 1.0},
        {"defense": "MART", "beta": 5.0},
        {"optimizer": "AWP"},
        {"optimizer": "AWP", "awp": "global"},
        {"optimizer": "AWP", "awp_warmup": 1},
        {"batch_size": 25},
        {"augmentation": False},
        {"extra_data": True},
        {"clip_norm": 0.01},
        {"weight_decay": 0.0},
        {"momentum": 0.0},
        {"learning_rate": 0.01},
        {"schedule": "cosine"},
        {"schedule": "cyclic"},
        {"optimizer": "SAM"},
        {"optimizer": "ASAM"},
        {"random_start": "none"},
        {"radius_warmup": 1},
        {"step_fraction": 0.1},
    ],
    ids=lambda settings: "-".join(f"{k}={v}" for k, v in settings.items()),
)
def test_every_option_acts(digits, plain_run, settings) -> None:
    last = train(_config(**settings), digits).last
    assert all(bool(torch.isfinite(tensor.float()).all()) for tensor in last.values())
    assert not _same(last, plain_run.last)


def test_the_initial_checkpoint_depends_on_architecture_and_seed_alone(digits, plain_run) -> None:
    other = TrainingRun(_config(defense="Standard", batch_size=10), digits, "cpu").initial
    assert _same(other, plain_run.initial)
    assert not _same(TrainingRun(_config(seed=1), digits, "cpu").initial, plain_run.initial)


def test_the_best_checkpoint_has_the_best_validation_score_of_all_epochs(digits) -> None:
    config = _config(epochs=6, learning_rate=0.3)
    trained = train(config, digits)
    orders = [(row["validation_pgd_accuracy"], -row["validation_pgd_loss"]) for row in trained.curves]
    assert orders.index(max(orders)) + 1 == trained.best_epoch
    network = initial_network(config, digits)
    network.load_state_dict(trained.best)
    _, validation = fitting_and_validation(digits, config)
    assert score(network, validation, config.threat, config.seed, "cpu").order == max(orders)


def test_test_images_play_no_part(digits, plain_run) -> None:
    noise = np.random.default_rng(0).random(digits.test.images.shape, dtype=np.float32)
    blind = replace(digits, test=ImageSplit(noise, digits.test.labels, digits.test.indices))
    again = train(_config(), blind)
    assert _same(again.best, plain_run.best)
    assert again.curves == plain_run.curves


@pytest.mark.parametrize(("n", "held_out"), [(100, 10), (1_000, 100), (20_000, 400)])
def test_without_validation_images_the_last_of_each_class_choose_and_are_not_trained_on(digits, n, held_out) -> None:
    labels = np.arange(n) % 10
    images = ImageSplit(np.zeros((n, 1, 2, 2), np.float32), labels, np.arange(n))
    dataset = replace(digits, train=images, validation=None)
    train_split, validation = fitting_and_validation(dataset, _config(evaluation_examples=n))
    assert np.bincount(validation.labels).tolist() == [held_out // 10] * 10
    assert not set(train_split.indices) & set(validation.indices)
    assert set(train_split.indices) | set(validation.indices) == set(range(n))
    assert (np.diff(train_split.indices) > 0).all()
    few = fitting_and_validation(dataset, _config(evaluation_examples=10))[1]
    assert sorted(few.labels) == list(range(10))


def test_classes_of_any_size_are_all_held_out_from(digits) -> None:
    labels = np.repeat(np.arange(10), [30, 1, 1, 2, 3, 40, 5, 6, 7, 8])
    images = ImageSplit(np.zeros((len(labels), 1, 2, 2), np.float32), labels, np.arange(len(labels)))
    validation = fitting_and_validation(replace(digits, train=images, validation=None), _config())[1]
    assert np.bincount(validation.labels).tolist() == [3, 1, 1, 1, 1, 4, 1, 1, 1, 1]
    each = ImageSplit(images.images[:10], np.arange(10), np.arange(10))
    with pytest.raises(BadInputError, match=r"expected more than one of each class \(10\), got 10"):
        fitting_and_validation(replace(digits, train=each, validation=None), _config())


def test_curves_have_a_row_for_every_evaluated_epoch(digits) -> None:
    trained = train(_config(epochs=5, evaluate_every=2), digits)
    assert [row["epoch"] for row in trained.curves] == [2, 4, 5]
    assert all(0 <= row["train_pgd_accuracy"] <= row["train_clean_accuracy"] <= 1 for row in trained.curves)


def test_training_fits_the_training_images(digits) -> None:
    trained = train(_config(defense="Standard", epochs=25, augmentation=False), digits)
    assert trained.curves[-1]["train_clean_accuracy"] > 0.9
    assert trained.curves[-1]["loss"] < trained.curves[0]["loss"]


def test_a_diverged_training_says_so(digits) -> None:
    with pytest.raises(ModelError, match=r"training diverged in epoch \d+ of 3: the loss or a weight is not finite; "):
        train(_config(learning_rate=1e30, epochs=3, defense="Standard", architecture="digits-plain"), digits)


def test_extra_data_needs_extra_images(digits) -> None:
    with pytest.raises(BadInputError, match="a dataset without any"):
        train(_config(extra_data=True), replace(digits, extra=None))


def test_a_state_of_other_settings_is_refused(digits, tmp_path) -> None:
    state = tmp_path / "state.pt"
    train(_config(), digits, state_path=state, save_every_seconds=0)
    with pytest.raises(BadInputError, match="a training state of these settings and images"):
        train(_config(seed=2), digits, state_path=state)


@pytest.mark.parametrize("optimizer", ["SGD", "AWP"])
def test_a_run_that_goes_on_from_a_state_ends_with_the_same_bits(digits, tmp_path, optimizer) -> None:
    config = _config(epochs=4, optimizer=optimizer, extra_data=True)
    whole = train(config, digits)

    with pytest.raises(StopError):
        train(config, digits, state_path=tmp_path / "state.pt", save_every_seconds=0, on_epoch=stop_at(3))
    resumed = train(config, digits, state_path=tmp_path / "state.pt")
    assert _same(resumed.last, whole.last)
    assert _same(resumed.best, whole.best)
    assert (resumed.curves, resumed.best_epoch) == (whole.curves, whole.best_epoch)


def test_a_run_stopped_before_its_first_evaluation_still_finds_its_best_checkpoint(digits, tmp_path) -> None:
    """Standard training: no validation image ever withstands PGD, and the first evaluation counts all the same."""
    config = _config(defense="Standard", epochs=4, evaluate_every=3, radius="1/1")
    whole = train(config, digits)
    assert [row["validation_pgd_accuracy"] for row in whole.curves] == [0.0, 0.0]

    state = tmp_path / "state.pt"
    with pytest.raises(StopError):
        train(config, digits, state_path=state, save_every_seconds=0, on_epoch=stop_at(2))
    resumed = train(config, digits, state_path=state)
    assert (resumed.best_epoch, resumed.curves) == (whole.best_epoch, whole.curves)
    assert _same(resumed.best, whole.best)


NETWORK = """
from torch import nn

class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 16))
        self.head = nn.Linear(16, 10)
        self.scale = nn.Parameter(self.head.bias.detach().clone(), requires_grad=False)

    def forward(self, x):
        return self.head(self.network(x).relu())
"""


@pytest.fixture
def own_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    (tmp_path / "mine.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    return {"architecture": "mine.py:Wrapped", "architecture_kwargs": {}}


def test_all_weights_of_a_network_with_a_part_called_network_are_kept(digits, own_network) -> None:
    trained = train(_config(**own_network, epochs=1), digits)
    assert {name.split(".")[0] for name in trained.last} == {"network", "head", "scale"}


def test_dropout_follows_the_seed_and_not_what_was_drawn_before(digits, own_network, tmp_path) -> None:
    config = _config(**own_network, epochs=3)
    torch.manual_seed(1)
    whole = train(config, digits)

    torch.manual_seed(2)
    with pytest.raises(StopError):
        train(config, digits, state_path=tmp_path / "state.pt", save_every_seconds=0, on_epoch=stop_at(2))
    resumed = train(config, digits, state_path=tmp_path / "state.pt")
    assert _same(resumed.last, whole.last)


def test_awp_leaves_alone_what_is_frozen_or_unused(digits, own_network) -> None:
    trained = train(_config(**own_network, epochs=1, optimizer="AWP"), digits)
    assert torch.equal(trained.last["scale"], trained.initial["scale"])
    assert not torch.equal(trained.last["head.weight"], trained.initial["head.weight"])


def test_mixed_precision_needs_a_gpu(digits) -> None:
    with pytest.raises(BadInputError, match="precision = mixed: expected a CUDA device to train on, got 'cpu'"):
        train(_config(precision="mixed"), digits)


SCRIPT = """
import json, sys, time, torch
import numpy as np
torch.set_num_threads(1)
from pathlib import Path
from measurebench.datasets.base import Dataset, ImageSplit
from measurebench.training.training_config import TrainingConfig
from measurebench.training.trainer import train
folder = Path(sys.argv[1])
arrays = np.load(folder / "images.npz")
split = ImageSplit(arrays["images"], arrays["labels"], arrays["indices"])
def slow(progress):
    print(progress.epoch, flush=True)
    time.sleep(0.3)
train(TrainingConfig.from_mapping(json.loads((folder / "config.json").read_text()), "test"),
      Dataset("digits", tuple("0123456789"), split, split, split, split),
      state_path=folder / "state.pt", save_every_seconds=0, on_epoch=slow)
"""


def test_a_run_killed_with_sigkill_ends_with_the_same_bits_as_one_never_killed(digits, tmp_path: Path) -> None:
    split = digits.train
    same = Dataset("digits", tuple("0123456789"), split, split, split, split)
    config = _config(defense="TRADES", beta=6.0, optimizer="AWP", epochs=6, steps=1, extra_data=True)
    np.savez(tmp_path / "images.npz", images=split.images, labels=split.labels, indices=split.indices)
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    with subprocess.Popen(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        assert [killed.stdout.readline().strip() for _ in range(3)] == ["1", "2", "3"]
        time.sleep(0.1)
        killed.send_signal(signal.SIGKILL)
    epochs: list[int] = []
    state = tmp_path / "state.pt"
    resumed = train(config, same, state_path=state, on_epoch=lambda progress: epochs.append(progress.epoch))
    assert epochs[0] in (3, 4)
    whole = train(config, same)
    assert _same(resumed.last, whole.last)
    assert _same(resumed.best, whole.best)
    assert resumed.curves == whole.curves


@pytest.mark.gpu
def test_mixed_precision_trains_on_a_gpu(digits) -> None:
    trained = train(_config(precision="mixed", epochs=3), digits, device="cuda")
    assert trained.curves[-1]["train_clean_accuracy"] > 0.15
