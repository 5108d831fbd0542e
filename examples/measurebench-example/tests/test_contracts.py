import numpy as np
import pytest
import torch
from torch import nn

from measurebench import load_dataset, measure
from measurebench.testing import MEASURE_PROMISES, check_architecture, check_dataset, check_measure, check_objective
from measurebench.training.objectives import objective_for


@pytest.mark.parametrize("promise", MEASURE_PROMISES)
def test_the_measure_keeps_the_contract_of_measures(promise: str) -> None:
    check_measure("top_two_gap", promises=[promise])


def test_the_gap_of_given_logits_is_known() -> None:
    # Identity network: the logits are the pixels. Gaps 0.5 - 0.3 and 0.9 - 0.2, mean 0.45.
    images = torch.tensor([[0.5, 0.1, 0.3], [0.2, 0.9, 0.0]], dtype=torch.float64)
    value = measure(nn.Identity(), images, torch.tensor([0, 1]), ["top_two_gap"])["top_two_gap"].value
    assert value == pytest.approx(0.45, abs=1e-12)


def test_the_data_set_keeps_the_contract_of_data_sets() -> None:
    check_dataset("stripes")


def test_the_data_set_has_as_many_images_of_every_class() -> None:
    assert np.bincount(load_dataset("stripes").test.labels).tolist() == [20] * 10


def test_the_architecture_keeps_the_contract_of_architectures() -> None:
    check_architecture("example-mlp")


def test_the_defense_keeps_the_contract_of_objectives() -> None:
    check_objective("ALP")


def test_equal_images_leave_the_cross_entropy_of_logit_pairing() -> None:
    # x' = x: the second term vanishes, whatever beta.
    net, images, labels = nn.Linear(4, 3), torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1])
    loss = objective_for("ALP", 7.0).loss(net, images, images, labels)
    assert float(loss.detach()) == pytest.approx(float(nn.functional.cross_entropy(net(images), labels).detach()))
