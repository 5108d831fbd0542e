"""FGSM and random noise: closed forms on a linear network."""

import torch
from torch import nn

from measurebench.attacks.protocol import AttackContext
from measurebench.attacks.registry import find_attack
from measurebench.core.threat import ThreatModel

KEYS = torch.arange(4)
IMAGES = torch.full((4, 1, 2, 2), 0.5)
LABELS = torch.tensor([0, 0, 1, 1])
SLOPE = torch.tensor([[1.0, -2.0, 3.0, -4.0], [0.0, 0.0, 0.0, 0.0]])


def _linear() -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    network[1].weight.data = SLOPE  # type: ignore[union-attr]
    return network


def test_fgsm_moves_every_pixel_by_the_radius_against_the_right_class() -> None:
    context = AttackContext(ThreatModel.parse("Linf", "1/8"), KEYS)
    moved = find_attack("fgsm")(_linear(), IMAGES, LABELS, context).adversarial - IMAGES
    towards = -SLOPE[0].sign().view(1, 2, 2) / 8
    assert torch.allclose(moved[:2], towards.expand(2, 1, 2, 2))
    assert torch.allclose(moved[2:], -towards.expand(2, 1, 2, 2))


def test_fgsm_in_l2_has_the_length_of_the_radius() -> None:
    context = AttackContext(ThreatModel.parse("L2", "0.25"), KEYS)
    moved = find_attack("fgsm")(_linear(), IMAGES, LABELS, context).adversarial - IMAGES
    assert torch.allclose(moved.flatten(1).norm(dim=1), torch.full((4,), 0.25))


def test_noise_asks_the_network_nothing_and_stays_in_the_ball() -> None:
    context = AttackContext(ThreatModel.parse("Linf", "1/8"), KEYS)
    found = find_attack("noise")(nn.Identity(), IMAGES, LABELS, context)
    distances = (found.adversarial - IMAGES).abs().flatten(1).amax(1)
    assert found.n_passes == 0
    assert bool((distances <= 0.125 + 1e-6).all())
    assert bool((distances > 0).all())
    assert not torch.equal(found.adversarial[0], found.adversarial[1])
