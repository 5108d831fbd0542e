import pytest
import torch
from torch import Tensor, nn

from measurebench.core.threat import ThreatModel
from measurebench.measures.margins.min_distance import MinimalDistance
from measurebench.measures.perturbation.input_margin import input_margins
from tests.measures.cases import context, examples, network, two_class_linear

WEIGHT = torch.tensor([3.0, -2.0, 1.0, 4.0], dtype=torch.float64)


def near_the_middle(n: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A linear network of two classes, and images so near 1/2 that the box does not cut the nearest change."""
    images = 0.5 + 0.1 * (torch.rand(n, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5)
    net = two_class_linear(WEIGHT)
    return net, images, net(images).argmax(1)


@pytest.mark.parametrize(("norm", "dual"), [("L2", 2), ("Linf", 1)])
def test_a_linear_network_has_the_margin_over_the_dual_norm(norm: str, dual: int) -> None:
    net, images, labels = near_the_middle(20)
    expected = ((images - 0.5) @ WEIGHT).abs() / torch.linalg.vector_norm(WEIGHT, dual)
    here = context(net, images, labels, threat=ThreatModel.parse(norm, 0.5))
    found = MinimalDistance(halvings=20)(here)
    assert torch.allclose(found.per_example, expected, rtol=1e-5)
    assert bool((found.per_example >= expected * (1 - 1e-9)).all())
    assert found.value == pytest.approx(float(expected.mean()), rel=1e-5)


def test_the_median_is_the_middle_distance() -> None:
    net, images, labels = near_the_middle(21)
    here = context(net, images, labels)
    each = MinimalDistance()(here).per_example
    assert MinimalDistance("median")(here).value == pytest.approx(float(each.sort().values[10]), rel=1e-12)


def test_misclassified_images_have_distance_zero() -> None:
    net, images, labels = near_the_middle(6)
    found = MinimalDistance()(context(net, images, 1 - labels))
    assert found.value == 0
    assert found.diagnostics["share_correct"] == 0


def test_a_network_that_never_changes_its_mind_has_the_longest_distance() -> None:
    net = two_class_linear(torch.zeros(4, dtype=torch.float64))
    net.bias.data = torch.tensor([1.0, 0.0], dtype=torch.float64)
    images, labels = torch.rand(3, 4, dtype=torch.float64), torch.zeros(3, dtype=torch.int64)
    assert MinimalDistance()(context(net, images, labels)).value == 1
    assert MinimalDistance()(context(net, images, labels, threat=ThreatModel.parse("L2", 1))).value == 2


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("kind", ["residual", "wide"])
def test_it_finds_changes_as_small_as_a_bisection_over_attacks(kind: str, norm: str) -> None:
    net = network(kind)
    images, labels = examples(net)
    here = context(net, images, labels, threat=ThreatModel.parse(norm, 0.5))
    found = MinimalDistance()(here).per_example
    right = (net(images).argmax(1) == labels).nonzero()[:, 0]
    other = input_margins(here, right, 4.0, 12)
    assert float(found[right].mean()) <= 1.05 * float(other.mean())
