"""A network rewritten for a CPU computes the same, forth and back, and what cannot be rewritten is left alone."""

import operator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule

from measurebench.attacks.standard import StandardSettings, standard_attack
from measurebench.attacks.standard.rewriting import rewritten
from measurebench.core.errors import BadInputError
from measurebench.core.specs import Normalization
from measurebench.core.threat import Norm
from measurebench.models.architectures.digits import PreActivationNet, ResidualNet
from measurebench.models.normalized import normalized
from tests.attacks.standard.stock import radius_that_splits

IMAGES = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def settled(network: nn.Module) -> nn.Module:
    """Return the network in evaluation mode with batch norms that have seen something."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator))
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.5)
    return network.eval().requires_grad_(False)


def gradient(network: nn.Module) -> Tensor:
    points = IMAGES.clone().requires_grad_(True)
    slope = torch.linspace(-1, 1, 10).expand(len(IMAGES), 10)
    return torch.autograd.grad(network(points), points, slope)[0]


class TwiceRead(nn.Module):
    """Networks whose layers' results are read twice, added to themselves and to what has another shape."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu, self.last = nn.ReLU(), nn.Linear(4, 10)

    def forward(self, images: Tensor) -> Tensor:
        read = self.first(images)
        twice = self.relu(read) - read
        doubled = self.second(twice)
        doubled = doubled + doubled
        wide = self.second(twice) + images
        summed = F.relu(doubled + wide.mean((2, 3), keepdim=True))
        return self.last(torch.flatten(F.avg_pool2d(summed, 8), 1))


@pytest.mark.parametrize("kind", [ResidualNet, PreActivationNet])
def test_the_networks_of_the_digits_compute_the_same(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = settled(kind(8, 1, 10))
    made = rewritten(network, IMAGES)
    assert made is not None
    assert not any(isinstance(module, nn.AvgPool2d) for module in made.modules())
    assert sum(isinstance(module, nn.Linear) for module in made.modules()) == 2  # both ends are matrices
    torch.testing.assert_close(made(IMAGES), network(IMAGES), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient(made), gradient(network), atol=1e-5, rtol=1e-5)


def test_nothing_is_overwritten_that_is_still_read() -> None:
    torch.manual_seed(0)
    network = TwiceRead().eval().requires_grad_(False)
    made = rewritten(network, IMAGES)
    assert made is not None
    images = IMAGES.clone()
    torch.testing.assert_close(made(images), network(IMAGES), atol=1e-5, rtol=1e-5)
    assert torch.equal(images, IMAGES)
    torch.testing.assert_close(gradient(made), gradient(network), atol=1e-5, rtol=1e-5)


def test_images_that_a_relu_reads_directly_stay_as_they_are() -> None:
    network = nn.Sequential(nn.ReLU(), nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10)).eval()
    made, images = rewritten(network, IMAGES), IMAGES - 0.5
    assert made is not None
    before = images.clone()
    torch.testing.assert_close(made(images), network(images), atol=1e-5, rtol=1e-5)
    assert torch.equal(images, before)


class Hooked(nn.Conv2d):
    """A convolution that computes something else."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) ** 2


def test_layers_of_other_kinds_and_with_hooks_are_kept() -> None:
    hooked = nn.Linear(128, 10)
    hooked.register_forward_hook(lambda *told: told[2].abs())
    network = nn.Sequential(Hooked(1, 2, 3, padding=1), nn.Flatten(), hooked).eval().requires_grad_(False)
    made = rewritten(network, IMAGES)
    assert made is None or torch.allclose(made(IMAGES), network(IMAGES), atol=1e-5)


def test_a_network_with_a_normalisation_is_rewritten_too() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10))
    network = settled(normalized(body, Normalization((0.3,), (0.2,))))
    made = rewritten(network, IMAGES)
    assert made is not None
    assert not any(isinstance(module, nn.BatchNorm2d) for module in made.modules())
    torch.testing.assert_close(made(IMAGES), network(IMAGES), atol=1e-5, rtol=1e-5)
    three = settled(normalized(body, Normalization((0.3, 0.3, 0.3), (0.2, 0.2, 0.2))))
    with pytest.raises(BadInputError, match="expected 3 channels"):
        three(IMAGES)


def divisions(network: nn.Module) -> int:
    assert isinstance(network, GraphModule)
    return sum(node.target is operator.truediv for node in network.graph.nodes)


class Scaled(nn.Module):
    """Divides the images by numbers of its own before a convolution; ``again`` reads the quotient twice."""

    def __init__(self, first: nn.Conv2d, again: bool, scale: Tensor) -> None:
        super().__init__()
        self.first, self.again, self.relu, self.last = first, again, nn.ReLU(), nn.Linear(first.out_channels * 64, 10)
        self.register_buffer("scale", scale)

    def forward(self, images: Tensor) -> Tensor:
        quotient = images.expand(-1, self.first.in_channels, -1, -1) / self.scale
        outputs = self.relu(self.first(quotient))
        return self.last((outputs * quotient.mean() if self.again else outputs).flatten(1))


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
def test_the_scaling_of_images_is_folded_into_the_convolution_that_reads_it(n: int, padding_mode: str) -> None:
    torch.manual_seed(0)
    first = nn.Conv2d(3, 4, 3, padding=1, padding_mode=padding_mode)
    network = Scaled(first, False, torch.tensor([0.1, 3.0, -2.0])[:n].view(-1, 1, 1)).eval().requires_grad_(False)
    made = rewritten(network, IMAGES)
    assert made is not None
    assert divisions(made) == 0
    torch.testing.assert_close(made(IMAGES), network(IMAGES), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient(made), gradient(network), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("first", "again", "scale"),
    [
        (nn.Conv2d(3, 4, 3, padding=1), True, torch.full((3, 1, 1), 0.3)),
        (nn.Conv2d(4, 4, 3, padding=1, groups=2), False, torch.full((4, 1, 1), 0.3)),
        (nn.Conv2d(3, 4, 3, padding=1), False, torch.full((8,), 0.3)),
        (nn.Conv2d(3, 4, 3, padding=1), False, torch.full((3, 1, 8), 0.3)),
    ],
    ids=["read twice", "groups", "by column", "by channel and column"],
)
def test_a_scaling_that_the_convolution_cannot_take_up_stays(first: nn.Conv2d, again: bool, scale: Tensor) -> None:
    torch.manual_seed(0)
    network = Scaled(first, again, scale).eval().requires_grad_(False)
    made = rewritten(network, IMAGES)
    assert made is not None
    assert divisions(made) == 1
    torch.testing.assert_close(made(IMAGES), network(IMAGES), atol=1e-5, rtol=1e-5)


def test_subnormal_weights_become_zero_and_the_network_keeps_its_own() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10), nn.ReLU())
    network = nn.Sequential(*body, nn.Linear(10, 10)).eval().requires_grad_(False)
    tiny = torch.finfo(torch.float32).tiny
    network[3].weight[:, ::2] = 1e-40
    network[3].weight[:, 1] = -tiny
    made = rewritten(network, IMAGES)
    assert made is not None
    sizes = torch.cat([p.abs().flatten() for p in made.parameters()])
    assert not bool(((sizes > 0) & (sizes < tiny)).any())
    assert int((sizes == tiny).sum()) == 10  # the smallest normal number stays
    assert bool((network[3].weight[:, ::2] > 0).all())
    torch.testing.assert_close(made(IMAGES), network(IMAGES), atol=1e-6, rtol=1e-6)


def test_float64_and_what_cannot_be_traced_are_left_alone() -> None:
    class Branching(nn.Module):
        def forward(self, points: Tensor) -> Tensor:
            return points if points.sum() > 0 else -points

    assert rewritten(ResidualNet(4, 1, 10).double().eval(), IMAGES.double()) is None
    assert rewritten(Branching(), IMAGES) is None


def test_the_rewritten_network_searches_and_the_reference_judges() -> None:
    torch.manual_seed(0)
    network = settled(ResidualNet(8, 1, 10))
    labels = network(IMAGES).argmax(1)
    threat = radius_that_splits(network, IMAGES, labels, Norm.LINF)
    options = {"keys": torch.arange(len(IMAGES)), "seed": 0, "n_classes": 10}
    options["settings"] = StandardSettings(apgd_steps=10, fab_steps=4, square_queries=30)
    result = standard_attack(network, IMAGES, labels, threat, **options)
    expected = standard_attack(network, IMAGES, labels, threat, search="reference", **options)
    assert result.diagnostics["search_network"] == "rewritten for a CPU"
    assert torch.equal(result.robust, expected.robust)
    assert (network(result.adversarial).argmax(1) != labels).equal(~result.robust)
