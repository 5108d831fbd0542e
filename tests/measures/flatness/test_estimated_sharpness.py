import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from measurebench.measures.api import measure
from measurebench.measures.flatness.estimated_sharpness import EstimatedSharpness
from tests.golden import flatness_reference as reference
from tests.measures.flatness.nets import KINDS, examples, linear_fixture, network, relu_pair


def value(item, net, images, labels, **options):
    (found,) = measure(net, images, labels, [item], **options).values()
    return found


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("estimated_sharpness", 0.016565297857),
        ("estimated_inv_sharpness", 0.016411619433),
        ("estimated_sharpness:layerwise", 0.014325932420),
    ],
)
def test_the_linear_fixture_has_its_known_sharpness(item, expected):
    assert value(item, *linear_fixture()).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("direction", "sign"), [("up", 1.0), ("down", -1.0)])
@pytest.mark.parametrize("variant", ["definition", "layerwise"])
def test_sharpness_agrees_with_the_plain_reference_on_adversarial_examples(kind, direction, sign, variant):
    net = network(kind)
    images, labels = examples(net, 12)
    adversarial = (images + 0.05 * torch.cos(37 * images)).clamp(0, 1)
    item = EstimatedSharpness(direction, "pgd", variant=variant)
    found = value(item, net, images, labels, adversarial=adversarial)
    expected = reference.estimated_sharpness(net, adversarial, labels, 5e-3, sign, variant == "layerwise")
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert found.standard_error > 0


def test_sharpness_tends_to_rho_times_weight_norm_times_gradient_norm():
    # l(w + v) - l(w) = g'v + O(|v|^2) with g'v = rho ||w|| ||g||: the ratio is 1 + O(rho), 1.00009 at rho = 1e-4
    found = value(EstimatedSharpness(rho=1e-6), *linear_fixture())
    first_order = 1e-6 * found.diagnostics["weight_norm"] * found.diagnostics["gradient_norm"]
    assert found.value == pytest.approx(first_order, rel=1e-5)


def test_layerwise_sharpness_survives_rescaling_and_global_sharpness_does_not():
    images, labels = (
        torch.rand(9, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
        torch.arange(9) % 4,
    )
    first, second = (
        [value(name, relu_pair(c), images, labels).value for c in (1.0, 10.0)]
        for name in ("estimated_sharpness:layerwise", "estimated_sharpness")
    )
    assert first[1] == pytest.approx(first[0], rel=1e-10)
    assert abs(second[1] / second[0] - 1) > 0.1


def test_sharpness_of_a_convex_loss_is_at_least_the_inverse():
    net, images, labels = linear_fixture()
    up, down = (value(EstimatedSharpness(d, rho=0.1), net, images, labels).value for d in ("up", "down"))
    assert up > down > 0


def test_a_zero_gradient_leaves_sharpness_undefined():
    net = nn.Linear(2, 2).double()
    net.weight.data, net.bias.data = torch.zeros(2, 2).double(), torch.tensor([2e3, 0.0]).double()
    found = value("estimated_sharpness", net, torch.ones(3, 2).double(), torch.zeros(3, dtype=torch.int64))
    assert found.value is None
    assert "gradient" in found.reason


def test_twice_rho_gives_about_twice_the_sharpness_and_variants_change_the_id():
    net, images, labels = linear_fixture()
    small, large = (value(EstimatedSharpness(rho=r), net, images, labels).value for r in (1e-4, 2e-4))
    assert large / small == pytest.approx(2, rel=1e-3)
    assert EstimatedSharpness(variant="layerwise").info.id == "estimated_sharpness:layerwise"
    assert replace(EstimatedSharpness(), direction="down").info.id == "estimated_inv_sharpness"
    assert math.isfinite(large)
