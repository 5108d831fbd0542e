import pytest
import torch

from measurebench.measures.perturbation.langevin import Langevin, loss_and_gradient
from tests.measures.cases import context, linear_fixture


def test_a_quadratic_loss_rises_by_half_per_direction() -> None:
    # the chain is x' = (1 - step a / 2) x + sqrt(step) z with a = weight h + pull, of variance 1 / (a (1 - step a / 4))
    h = torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64)
    chain = Langevin(step=0.02, weight=3.0, pull=2.0, n_steps=60_000)
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(60_000, 3, generator=generator, dtype=torch.float64)

    def gradient(point: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        w = point["w"]
        return (h * w.square()).sum() / 2, {"w": h * w}

    centre = {"w": torch.zeros(3, dtype=torch.float64)}
    losses = torch.stack(list(chain.losses(gradient, centre, lambda index: {"w": numbers[index]})))
    a = 3 * h + 2
    expected = float((3 * h / (2 * a * (1 - 0.02 * a / 4))).sum())
    assert 3 * float(losses[2000:].mean()) == pytest.approx(expected, rel=0.04)


def test_without_noise_the_chain_is_gradient_descent() -> None:
    chain = Langevin(step=0.1, weight=2.0, pull=0.0, n_steps=3)
    zero = {"w": torch.zeros(1, dtype=torch.float64)}
    start = {"w": torch.ones(1, dtype=torch.float64)}
    found = chain.losses(lambda p: (p["w"].square().sum() / 2, {"w": p["w"]}), start, lambda _: zero)
    assert [float(loss) for loss in found] == pytest.approx([0.9**2 / 2, 0.9**4 / 2, 0.9**6 / 2], rel=1e-12)


def test_loss_and_gradient_are_those_of_the_linear_fixture() -> None:
    net, images, labels, _ = linear_fixture()
    here = context(net, images, labels, batch_size=2)
    loss, gradient = loss_and_gradient(here, "clean", here.parameters)
    assert float(loss) == pytest.approx(2.031728682282, abs=1e-11)
    assert float(torch.cat([g.flatten() for g in gradient.values()]).norm()) == pytest.approx(0.678680117442, abs=1e-11)
