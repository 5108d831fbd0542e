import pytest
import torch
from torch import nn

from measurebench.measures.api import measure
from tests.golden import flatness_reference as reference
from tests.measures.flatness.nets import KINDS, examples, linear_fixture, network, relu_pair


def value(net, images, labels, **options):
    return measure(net, images, labels, ["relative_flatness"], **options)["relative_flatness"]


def test_the_linear_fixture_has_its_known_value():
    assert value(*linear_fixture()).value == pytest.approx(3.588862735479, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_closed_form_is_the_double_sum_over_the_dense_hessian(kind):
    net = network(kind, 1)
    images, labels = examples(net, 4)
    last = "3.weight" if kind == "wide" else "linear.weight"
    found = value(net, images, labels)
    assert found.value == pytest.approx(reference.relative_flatness(net, images, labels, last), rel=1e-9)
    assert len(found.per_example) == 4


def test_rescaling_leaves_it():
    images = torch.rand(9, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = [value(relu_pair(c), images, torch.arange(9) % 4).value for c in (1.0, 10.0)]
    assert values[1] == pytest.approx(values[0], rel=1e-10)


def test_a_network_without_linear_last_layer_has_none():
    net = nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten()).double()
    found = value(net, *examples(net, 3))
    assert found.value is None
    assert "linear layer" in found.reason
    scaled = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Tanh()).double()
    assert value(scaled, *examples(scaled, 3)).value is None
    assert not net[0]._forward_hooks
