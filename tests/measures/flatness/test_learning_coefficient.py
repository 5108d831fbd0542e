import math

import pytest
import torch
import torch.nn.functional as F

from measurebench.measures.flatness.learning_coefficient import LearningCoefficient
from measurebench.measures.perturbation.weight_noise import WeightNoise
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, linear_fixture


def test_it_is_the_slow_loop_s() -> None:
    net, images, labels, _ = linear_fixture()
    here = context(net, images, labels, batch_size=2)
    found = LearningCoefficient(n_draws=3, n_steps=8, step=1e-3, pull=10.0)(here)
    centre = [net.weight.clone(), net.bias.clone()]
    noise = WeightNoise(here.parameters, 0, "learning coefficient")
    weight = 5 / math.log(5)

    def loss_at(w: list[torch.Tensor]) -> torch.Tensor:
        return F.cross_entropy(images @ w[0].T + w[1], labels)

    rises = []
    for draw in range(3):
        w, losses = centre, []
        for index in range(8):
            leaves = [value.detach().requires_grad_(True) for value in w]
            gradient = torch.autograd.grad(loss_at(leaves), leaves)
            numbers = noise[draw * 8 + index].values()
            w = [
                a - 5e-4 * (weight * g + 10 * (a - c)) + math.sqrt(1e-3) * z
                for a, g, c, z in zip(w, gradient, centre, numbers, strict=True)
            ]
            losses.append(float(loss_at(w)))
        rises.append(weight * (sum(losses[4:]) / 4 - float(loss_at(centre))))
    assert found.value == pytest.approx(sum(rises) / 3, rel=1e-9)
    assert found.standard_error == pytest.approx(float(torch.tensor(rises).double().std()) / math.sqrt(3), rel=1e-7)


def test_one_example_has_no_temperature() -> None:
    net, images, labels, _ = linear_fixture()
    with pytest.raises(UndefinedMeasureError, match="two examples"):
        LearningCoefficient()(context(net, images[:1], labels[:1]))
