"""Training on the pretended GPU: one step of every defense gives the CPU's weights, and waits for one number."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from measurebench.datasets import Dataset, load_dataset
from measurebench.training.objectives import DEFENSES
from measurebench.training.trainer import TrainingRun
from measurebench.training.training_config import TrainingConfig, recipe
from tests.pretended import counting, pretended_gpu
from tests.pretended.counts import Counts
from tests.pretended.subjects import on_both, same

QUICK: dict[str, Any] = {
    "epochs": 1,
    "batch_size": 10,
    "steps": 2,
    "evaluation_examples": 10,
    "architecture_kwargs": {"width": 4},
}
BETAS = {"TRADES": {"beta": 6.0}, "MART": {"beta": 5.0}}
PERTURBATIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "layerwise": {"optimizer": "AWP", "awp": "layerwise"},
    "global": {"optimizer": "AWP", "awp": "global"},
}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    whole = load_dataset("digits")
    return replace(whole, train=whole.train.first(40), test=whole.test.first(20))


def run_of(digits: Dataset, device: str, **settings: Any) -> TrainingRun:
    """Return a training run on a device."""
    config = TrainingConfig.from_mapping(recipe("digits") | QUICK | settings, "test")
    return TrainingRun(config, digits, device)


def step(digits: Dataset, device: str, **settings: Any) -> dict[str, torch.Tensor]:
    """Return the weights after one update, and the loss of it."""
    run, generator = run_of(digits, device, **settings), torch.Generator().manual_seed(0)
    images, labels = next(iter(run.batches.epoch(generator)))
    loss = run.update(images, labels, generator)
    return {"loss": torch.tensor(loss), **{name: t.detach().cpu() for name, t in run.network.state_dict().items()}}


@pytest.mark.parametrize("defense", DEFENSES)
@pytest.mark.parametrize("perturbation", PERTURBATIONS)
def test_one_step_of_a_defense_gives_the_same_weights(digits: Dataset, defense: str, perturbation: str) -> None:
    settings = {"defense": defense, **BETAS.get(defense, {}), **PERTURBATIONS[perturbation]}
    plain, there = on_both(lambda device: step(digits, device, **settings))
    assert plain.keys() == there.keys()
    for name, value in plain.items():
        assert same(value, there[name]), name


def counts_of(digits: Dataset, n_steps: int, **settings: Any) -> Counts:
    """Return what one update with so many steps of the inner maximisation asks of the device."""
    with pretended_gpu():
        run, generator = run_of(digits, "cuda", **{**settings, "steps": n_steps}), torch.Generator().manual_seed(0)
        images, labels = next(iter(run.batches.epoch(generator)))
        with counting() as counts:
            run.update(images, labels, generator)
    return counts


@pytest.mark.parametrize("defense", DEFENSES[1:])
def test_an_update_waits_once_however_many_steps_its_attack_takes(digits: Dataset, defense: str) -> None:
    settings = {"defense": defense, **BETAS.get(defense, {})}
    few, many = (counts_of(digits, n, **settings) for n in (1, 4))
    assert many.by_synchronisation == few.by_synchronisation == {"item": 1}
    assert many.uploads == few.uploads
    assert (many.operations - few.operations) / 3 <= 150  # of a residual network of nine convolutions


def test_an_epoch_with_its_evaluation_runs_is_saved_and_is_resumed(digits: Dataset, tmp_path: Path) -> None:
    def trained(device: str) -> dict[str, torch.Tensor]:
        run = run_of(digits, device, defense="AT", evaluate_every=1)
        run.epoch()
        run.save(tmp_path / f"{device}.pt", "identity")
        again = run_of(digits, device, defense="AT", evaluate_every=1)
        again.restore(tmp_path / f"{device}.pt", "identity")
        assert same(torch.tensor(again.progress.curves[0]["loss"]), torch.tensor(run.progress.curves[0]["loss"]))
        assert all(t.device.type == device for t in again.network.state_dict().values())
        return {name: tensor.cpu() for name, tensor in again.network.state_dict().items()}

    plain, there = on_both(trained)
    for name, value in plain.items():
        assert same(value, there[name]), name


def test_mixed_precision_computes_products_in_bfloat16(digits: Dataset) -> None:
    with pretended_gpu():
        run, generator = run_of(digits, "cuda", defense="AT", precision="mixed"), torch.Generator().manual_seed(0)
        images, labels = next(iter(run.batches.epoch(generator)))
        with pytest.MonkeyPatch.context() as patch, counting() as counts:
            patch.setattr(torch.backends.cudnn, "allow_tf32", False)
            run.update(images, labels, generator)
        assert counts.by_reduced["convolution"] > 0
        assert next(run.network.parameters()).dtype == torch.float32
