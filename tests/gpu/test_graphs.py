"""Replayed passes give the numbers of the passes themselves, and what cannot be captured runs as it is."""

import pytest
import torch
from torch import Tensor, nn

from measurebench.compute.graphs import Replayed
from measurebench.datasets import load_dataset
from measurebench.training.trainer import TrainingRun
from measurebench.training.training_config import TrainingConfig, recipe
from tests.gpu.subjects import DEVICE, digits, digits_network

pytestmark = pytest.mark.skipif(DEVICE == "cpu", reason="a rehearsal on a CPU has no graphs")


def test_replayed_logits_and_gradients_are_those_of_the_network(device: str) -> None:
    network = digits_network(device).requires_grad_(False)
    replayed, images = Replayed(network), digits(100, device)[0]
    for turn in range(8):
        points = (images + 0.01 * turn).clamp(0, 1)[: 97 + turn % 3]
        leaf = points.clone().requires_grad_()
        expected = network(leaf)
        slope = torch.softmax(expected.detach(), 1)
        (gradient,) = torch.autograd.grad(expected, leaf, slope)
        logits, back = replayed.forward(points)
        assert torch.allclose(logits, expected, atol=1e-5)
        assert torch.allclose(back(slope), gradient, atol=1e-5)
        assert torch.allclose(replayed.logits(points), expected, atol=1e-5)
    assert replayed.allowed
    assert len(replayed._graphs) == 2


def test_weights_that_change_in_place_count_in_the_next_replay(device: str) -> None:
    network = digits_network(device).requires_grad_(False)
    replayed, images = Replayed(network), digits(64, device)[0]
    for _ in range(6):
        replayed.logits(images)
    before = replayed.logits(images)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.05)
    after = replayed.logits(images)
    assert not torch.allclose(after, before, atol=1e-3)
    assert torch.allclose(after, network(images), atol=1e-5)


def test_a_network_that_asks_for_a_number_runs_as_it_is(device: str) -> None:
    class Asking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = digits_network(device)

        def forward(self, images: Tensor) -> Tensor:
            return self.inner(images) if float(images.mean()) < 2 else images.flatten(1)

    network = Asking().requires_grad_(False)
    replayed, images = Replayed(network), digits(64, device)[0]
    for _ in range(6):
        assert torch.allclose(replayed.logits(images), network(images), atol=1e-5)
    assert not replayed.allowed


def test_training_with_replayed_attacks_ends_at_the_same_weights(device: str) -> None:
    def weights(graphs: bool) -> Tensor:
        config = TrainingConfig.from_mapping(recipe("digits") | {"defense": "AT", "epochs": 2, "batch_size": 50}, "gpu")
        run = TrainingRun(config, load_dataset("digits").reduced(300, 50), device)
        run.replayed.allowed = graphs
        for _ in range(2):
            run.epoch()
        assert run.replayed.allowed is graphs
        assert bool(run.replayed._graphs) is graphs
        return torch.cat([p.detach().flatten() for p in run.network.parameters()])

    plain = weights(False)
    assert torch.allclose(weights(True), plain, atol=1e-3)
