import pytest
import torch

from measurebench.measures.api import measure
from measurebench.measures.flatness.keskar_sharpness import KeskarSharpness
from tests.golden import flatness_reference as reference
from tests.measures.flatness.nets import examples, linear_fixture, network, relu_pair


def value(item, net, images, labels, **options):
    (found,) = measure(net, images, labels, [item], **options).values()
    return found


def test_keskar_sharpness_agrees_with_the_plain_reference():
    net = network("residual", 2)
    images, labels = examples(net, 4)
    scale = {name: p.abs() + 1 for name, p in net.named_parameters()}
    rise = reference.ascend(net, images, labels, scale, "linf", 1e-3, 5)
    expected = 100 * rise / (1 + float(reference.mean_loss(net, images, labels)))
    assert value(KeskarSharpness(n_steps=5), net, images, labels).value == pytest.approx(expected, rel=1e-8)


def test_keskar_sharpness_of_a_tiny_box_is_the_dual_norm():
    # max over |v_j| <= e (|w_j| + 1) of g'v is e sum_j (|w_j| + 1) |g_j|; the remainder is of order e smaller
    net, images, labels = linear_fixture()
    gradient = reference.weight_gradient(net, images, labels)
    l1 = sum(float(((p.abs() + 1) * gradient[name]).abs().sum()) for name, p in net.named_parameters())
    loss = 2.031728682282
    found = value(KeskarSharpness(radius=1e-6), net, images, labels)
    assert found.value == pytest.approx(100 * 1e-6 * l1 / (1 + loss), rel=1e-4)


def test_keskar_sharpness_does_not_survive_rescaling():
    images, labels = (
        torch.rand(9, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
        torch.arange(9) % 4,
    )
    values = [value(KeskarSharpness(), relu_pair(c), images, labels).value for c in (1.0, 10.0)]
    assert abs(values[1] / values[0] - 1) > 0.1
