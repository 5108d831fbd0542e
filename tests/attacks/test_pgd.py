import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from measurebench.attacks.geometry import distance, project
from measurebench.attacks.pgd import PGD
from measurebench.attacks.protocol import AttackContext
from measurebench.attacks.starts import keyed_start
from measurebench.core.threat import Norm, ThreatModel


class Counted(nn.Module):
    """Counts forward and backward passes from outside the attack."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.n_forward, self.n_backward = network, 0, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.n_forward += 1
        output = self.network(images)
        if output.requires_grad:
            output.register_hook(self._count)
        return output

    def _count(self, _gradient: torch.Tensor) -> None:
        self.n_backward += 1


def linear(weight: torch.Tensor, bias: float = 0.0) -> nn.Module:
    """Return two logits, 0 and w.x + b, of flattened images."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(weight.numel(), 2)).double()
    with torch.no_grad():
        network[1].weight.copy_(torch.stack([torch.zeros_like(weight), weight]))
        network[1].bias.copy_(torch.tensor([0.0, bias]))
    return network


WEIGHT = torch.tensor([0.5, -1.0, 2.0, -0.25], dtype=torch.float64)
IMAGES = torch.full((3, 1, 2, 2), 0.5, dtype=torch.float64)
KEYS = torch.arange(3)
LABELS = torch.ones(3, dtype=torch.int64)
LINF = AttackContext(ThreatModel.parse("Linf", "0.1"), KEYS)


@pytest.mark.parametrize(("norm", "dual"), [("Linf", WEIGHT.abs().sum()), ("L2", WEIGHT.norm())])
def test_pgd_reaches_the_worst_case_of_a_linear_model(norm: str, dual: torch.Tensor) -> None:
    # The logit w.x + b falls by radius times the dual norm of w at most (Hoelder), and ten steps of a quarter of
    # the radius cross the ball from any start: at the optimum exactly, up to rounding of the projection.
    network, threat = linear(WEIGHT), ThreatModel.parse(norm, "0.1")
    adversarial = PGD(steps=40)(network, IMAGES, LABELS, AttackContext(threat, KEYS)).adversarial
    fall = network(IMAGES)[:, 1] - network(adversarial)[:, 1]
    torch.testing.assert_close(fall, (0.1 * dual).expand(3), rtol=1e-6, atol=0)


def test_ten_steps_cost_ten_forward_and_ten_backward_passes() -> None:
    counted = Counted(linear(WEIGHT))
    PGD(steps=10)(counted, IMAGES, LABELS, LINF)
    assert (counted.n_forward, counted.n_backward) == (10, 10)


def test_random_start_follows_key_and_seed_not_position() -> None:
    attack = PGD(steps=0)
    whole = attack(nn.Flatten(), IMAGES, LABELS, LINF).adversarial
    alone = attack(nn.Flatten(), IMAGES[2:], LABELS[2:], LINF.at(slice(2, 3))).adversarial
    assert torch.equal(whole[2:], alone)
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(whole, attack(nn.Flatten(), IMAGES, LABELS, replace(LINF, seed=1)).adversarial)


def test_targeted_attack_raises_the_target() -> None:
    network, targets = linear(WEIGHT, bias=-10.0), torch.ones(3, dtype=torch.int64)
    adversarial = PGD(steps=10)(network, IMAGES, 1 - LABELS, replace(LINF, targets=targets)).adversarial
    assert bool((network(adversarial)[:, 1] > network(IMAGES)[:, 1]).all())


def test_parameters_get_no_gradients() -> None:
    network = linear(WEIGHT)
    PGD()(network, IMAGES, LABELS, LINF)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_step_in_pixel_units_replaces_the_share_of_the_radius() -> None:
    network = linear(WEIGHT)
    share = PGD(steps=3, step_fraction=0.2)(network, IMAGES, LABELS, LINF).adversarial
    length = PGD(steps=3, step=0.02)(network, IMAGES, LABELS, LINF).adversarial
    torch.testing.assert_close(share, length, rtol=0, atol=1e-12)


class Pockets(nn.Module):
    """Turns to class 1 only where the first pixel lies in a narrow band, and has no gradient anywhere."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first = images.flatten(1)[:, 0]
        inside = ((first > 0.52) & (first < 0.54)).to(images)
        return torch.stack([torch.zeros_like(inside), 2 * inside - 1], 1) + 0 * images.flatten(1).sum(1, keepdim=True)


def test_of_several_restarts_one_that_succeeds_is_kept() -> None:
    # Without a gradient only the random start counts: one start lands in a band of 0.02 of 0.2 with probability 0.1,
    # one of forty with 1 - 0.9^40 = 0.985.
    n = 200
    images, labels = torch.full((n, 1, 2, 2), 0.5), torch.zeros(n, dtype=torch.int64)
    context = AttackContext(LINF.threat, torch.arange(n))
    network, turned = Pockets(), {}
    for restarts in (1, 40):
        found = PGD(steps=1, restarts=restarts)(network, images, labels, context)
        turned[restarts] = network(found.adversarial).argmax(1) == 1
        assert found.n_passes == 2 * restarts
    assert 5 <= int(turned[1].sum()) <= 40
    assert int(turned[40].sum()) >= 185
    assert bool((turned[1] <= turned[40]).all())


def test_restarts_never_lower_the_loss_of_images_that_withstand() -> None:
    network, weak = linear(WEIGHT, bias=5.0), PGD(steps=1, step_fraction=0.1)
    alone = weak(network, IMAGES, LABELS, LINF).adversarial
    best = replace(weak, restarts=6)(network, IMAGES, LABELS, LINF).adversarial
    assert bool((network(best)[:, 1] <= network(alone)[:, 1]).all())
    assert bool((network(best)[:, 1] < network(alone)[:, 1]).any())


class BlackRoot(nn.Module):
    """The function x -> (0, w.x + b) through a root and a square, whose gradient is NaN at black pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.body = linear(WEIGHT)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.body(images.sqrt().square())


def test_gradients_that_are_not_finite_do_not_make_a_network_robust_and_are_told() -> None:
    images = IMAGES.clone()
    images[:, 0, 0, 0] = 0.0
    attack = PGD(start=False)
    found = attack(BlackRoot(), images, LABELS, LINF)
    assert bool(found.adversarial.isfinite().all())
    assert found.counts == {"n_nonfinite_gradients": 3}
    assert found.flags == ("some gradients at the images are not finite and count as zero",)
    plain = attack(linear(WEIGHT), images, LABELS, LINF)
    assert (plain.flags, dict(plain.counts)) == ((), {})
    # Only the black pixel, whose derivative is unknown, stays; the three others move as far as they may.
    torch.testing.assert_close(found.adversarial.flatten(1)[:, 1:], plain.adversarial.flatten(1)[:, 1:])


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(list(Norm)),
    st.floats(0.01, 2.0),
    st.integers(0, 10_000),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_projection_lands_inside_and_leaves_inner_points_alone(
    norm: Norm, radius: float, seed: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(4, 1, 3, 3, generator=generator).to(dtype)
    points = centres + torch.randn(4, 1, 3, 3, generator=generator).to(dtype)
    inside = project(points, centres, norm, radius)
    assert float(distance(inside, centres, norm).max()) <= radius + 1e-6
    assert 0 <= float(inside.min()) <= float(inside.max()) <= 1
    torch.testing.assert_close(project(inside, centres, norm, radius), inside, rtol=0, atol=1e-6)


def test_l2_starts_fill_the_ball_evenly() -> None:
    # In d dimensions P(distance <= r/2) = 2^-d for a uniform point of the ball; here d = 2, far from the box.
    images = torch.full((20_000, 1, 1, 2), 0.5)
    starts = keyed_start("uniform", images, torch.arange(20_000), Norm.L2, 0.4, "test")
    lengths = distance(starts, images, Norm.L2)
    share = float((lengths <= 0.2).double().mean())
    assert float(lengths.max()) <= 0.4 + 1e-6
    assert abs(share - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 20_000)
