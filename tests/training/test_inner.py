"""The inner maximisation: its ball, its number of passes, its starts, and the mode it leaves the network in."""

import pytest
import torch
from torch import Tensor, nn

from measurebench.core.threat import ThreatModel
from measurebench.training.inner import InnerMaximization
from measurebench.training.objectives import AT, TRADES

LINF = ThreatModel.parse("Linf", "1/10")
L2 = ThreatModel.parse("L2", "1/2")


class _Linear(nn.Module):
    """Logits of a linear model, counting its forward passes and noting the mode it is in."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, -1.0, 0.5, 2.0], [0.5, 1.0, -1.0, -1.0]]))
        self.n_passes = 0
        self.modes: set[bool] = set()

    def forward(self, images: Tensor) -> Tensor:
        self.n_passes += 1
        self.modes.add(self.training)
        return images.flatten(1) @ self.weight.T


def _images(n: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 1, 2, 2, generator=generator), torch.arange(n) % 2


def _attack(threat: ThreatModel, steps: int, fraction: float, start: str, **more) -> tuple[Tensor, Tensor, _Linear]:
    network = _Linear().train()
    images, labels = _images()
    attack = InnerMaximization(threat, steps, fraction, start)
    generator = torch.Generator().manual_seed(5)
    return attack(network, images, labels, AT(), generator, **more), images, network


@pytest.mark.parametrize("threat", [LINF, L2], ids=str)
@pytest.mark.parametrize("start", ["uniform", "gaussian", "none"])
def test_examples_stay_in_ball_and_box(threat, start) -> None:
    adversarial, images, _ = _attack(threat, 5, 0.5, start)
    offset = (adversarial - images).flatten(1)
    size = offset.abs().amax(1) if threat is LINF else offset.norm(dim=1)
    assert float(size.max()) <= threat.radius * (1 + 1e-6)
    assert float(adversarial.min()) >= 0
    assert float(adversarial.max()) <= 1


def test_many_steps_on_a_linear_model_reach_the_corner_known_beforehand() -> None:
    """The cross-entropy of two linear logits grows fastest along the sign of w_other - w_label, everywhere."""
    adversarial, images, network = _attack(LINF, 20, 0.25, "uniform")
    _, labels = _images()
    away = (network.weight[1 - labels] - network.weight[labels]).detach().sign().reshape(images.shape)
    torch.testing.assert_close(adversarial, (images + 0.1 * away).clamp(0, 1))


@pytest.mark.parametrize("steps", [1, 3])
def test_every_step_costs_one_pass(steps) -> None:
    assert _attack(LINF, steps, 0.25, "uniform")[2].n_passes == steps


def test_trades_costs_one_more_pass_for_the_clean_prediction() -> None:
    network, (images, labels) = _Linear(), _images()
    InnerMaximization(LINF, 3, 0.25, "gaussian")(network, images, labels, TRADES(6.0), torch.Generator())
    assert network.n_passes == 4


def test_the_network_is_attacked_in_eval_mode_and_left_in_train_mode() -> None:
    network = _attack(LINF, 2, 0.25, "uniform")[2]
    assert network.modes == {False}
    assert network.training


def test_starts_differ_and_none_is_the_image_itself() -> None:
    points = {start: _attack(LINF, 0, 0.25, start)[0] for start in ("uniform", "gaussian", "none")}
    images, _ = _images()
    assert torch.equal(points["none"], images)
    assert 0.05 < float((points["uniform"] - images).abs().max()) <= 0.1
    assert 0 < float((points["gaussian"] - images).abs().max()) < 0.01


def test_a_share_of_the_radius_limits_the_perturbation() -> None:
    adversarial, images, _ = _attack(LINF, 10, 0.25, "uniform", share=0.3)
    assert float((adversarial - images).abs().max()) == pytest.approx(0.03, rel=1e-4)


def test_uniform_starts_fill_the_l2_ball() -> None:
    """In d dimensions the share of points within half the radius is 2^-d: here 1/16, of 4000 points 250 +- 15."""
    images = torch.full((4000, 1, 2, 2), 0.5)
    attack = InnerMaximization(ThreatModel.parse("L2", "0.4"), 0, 0.25, "uniform")
    generator = torch.Generator().manual_seed(0)
    points = attack(_Linear(), images, torch.zeros(4000, dtype=torch.int64), AT(), generator)
    lengths = (points - images).flatten(1).norm(dim=1)
    assert float(lengths.max()) <= 0.4 * (1 + 1e-6)
    assert float((lengths < 0.2).float().mean()) == pytest.approx(0.0625, abs=0.02)
