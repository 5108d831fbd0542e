"""Accuracies over a loader are those of all its images at once."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from measurebench import eval_rob_accuracy, load_dataset, load_model, measure
from measurebench.core.errors import BadInputError

DIGITS = load_dataset("digits").test.first(50)
IMAGES, LABELS = torch.from_numpy(DIGITS.images), torch.from_numpy(DIGITS.labels)
IDS = ["clean_accuracy", "pgd_accuracy", "fgsm_accuracy", "noise_accuracy"]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return load_model("digits:plain-standard-b64-s0-last").network


@pytest.mark.parametrize(("norm", "radius"), [("Linf", "1/10"), ("L2", 0.5)])
def test_batches_of_any_size_give_the_values_of_all_images_at_once(network: nn.Module, norm: str, radius: Any) -> None:
    whole = measure(network, IMAGES, LABELS, IDS, norm=norm, radius=radius, split="test")
    for size in (7, 50):
        loader = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=size)
        found = eval_rob_accuracy(network, loader, norm=norm, radius=radius)
        assert list(found) == IDS
        assert {name: found[name].value for name in IDS} == {name: whole[name].value for name in IDS}
        assert {found[name].n for name in IDS} == {50}
    assert found["clean_accuracy"].value > found["pgd_accuracy"].value  # type: ignore[operator]
    assert found["noise_accuracy"].value > found["fgsm_accuracy"].value  # type: ignore[operator]
    assert found["pgd_accuracy"].diagnostics["wilson_low"] == whole["pgd_accuracy"].diagnostics["wilson_low"]


def test_a_limit_takes_the_first_images_and_attacks_have_settings(network: nn.Module) -> None:
    loader = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=8)
    found = eval_rob_accuracy(network, loader, ["pgd:steps=3"], radius="1/10", n_limit=20)
    whole = measure(network, IMAGES[:20], LABELS[:20], ["clean_accuracy"])
    assert list(found) == ["clean_accuracy", "pgd:steps=3_accuracy"]
    assert found["clean_accuracy"].value == whole["clean_accuracy"].value
    assert found["pgd:steps=3_accuracy"].n == 20


def test_the_network_is_as_found(network: nn.Module) -> None:
    network.train()
    first = next(network.parameters())
    needed = first.requires_grad
    eval_rob_accuracy(network, [(IMAGES[:4], LABELS[:4])])
    assert network.training
    assert first.requires_grad is needed
    network.eval()


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ([], r"loader: expected batches \(images, labels\), at least one, got none"),
        ([IMAGES], r"loader: expected batches \(images, labels\), got Tensor"),
        ([(IMAGES * 2, LABELS)], r"images: expected float32 in \[0, 1\]"),
        ([(IMAGES, LABELS + 90)], "labels: expected classes 0 to 9"),
    ],
)
def test_what_is_no_loader_of_images_is_an_error(network: nn.Module, loader: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        eval_rob_accuracy(network, loader)


def test_images_that_all_leave_the_ball_leave_no_accuracy(network: nn.Module) -> None:
    found = eval_rob_accuracy(network, [(IMAGES, LABELS)] * 2, "tests.attacks.test_plugin:zeros")
    assert found["zeros_accuracy"].value is None
    assert found["zeros_accuracy"].diagnostics["n_violations"] == 100
