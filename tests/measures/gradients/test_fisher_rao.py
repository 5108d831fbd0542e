import math

import pytest
import torch
from torch import nn

from measurebench.measures.gradients.fisher_rao import FisherRao
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, linear_fixture


def test_norm_of_the_linear_fixture() -> None:
    net, images, labels, _ = linear_fixture()
    assert FisherRao()(context(net, images, labels)).value == pytest.approx(1.741584683429, abs=1e-11)


def test_a_homogeneous_network_has_its_depth_times_that_of_its_logits() -> None:
    # W . grad_W z = L z for a bias-free ReLU network of L layers (Euler), so W . grad l = L (p - e_y) . z
    torch.manual_seed(0)
    layers = [
        nn.Linear(4, 6, bias=False),
        nn.ReLU(),
        nn.Linear(6, 6, bias=False),
        nn.ReLU(),
        nn.Linear(6, 3, bias=False),
    ]
    net = nn.Sequential(*layers).double().requires_grad_(False)
    images, labels = torch.rand(7, 4, dtype=torch.float64), torch.arange(7) % 3
    z = net(images)
    p = z.softmax(1)
    p[torch.arange(7), labels] -= 1
    expected = 3 * math.sqrt(float((p * z).sum(1).square().mean()))
    assert FisherRao()(context(net, images, labels)).value == pytest.approx(expected, rel=1e-12)


def test_a_network_without_layers_has_no_direction() -> None:
    with pytest.raises(UndefinedMeasureError, match="no convolution"):
        FisherRao()(context(nn.BatchNorm1d(3).eval(), torch.rand(4, 3), torch.tensor([0, 1, 2, 0])))
