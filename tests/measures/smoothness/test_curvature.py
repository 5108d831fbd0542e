import pytest
import torch
from torch import nn

from measurebench.core.threat import ThreatModel
from measurebench.measures.smoothness.curvature import Cure, LocalLinearity
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, linear_fixture


def gradient(net: nn.Linear, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """W'(p - e_y): the input gradient of a linear softmax network."""
    p = net(images).softmax(1)
    p[torch.arange(len(labels)), labels] -= 1
    return p @ net.weight


def test_cure_of_a_linear_softmax_network_in_closed_form() -> None:
    net, images, labels, _ = linear_fixture()
    before = gradient(net, images, labels)
    signs = before.sign()
    moved = images + 1.5 * signs / signs.norm(dim=1, keepdim=True)
    expected = (gradient(net, moved, labels) - before).norm(dim=1).mean()
    assert Cure()(context(net, images, labels)).value == pytest.approx(float(expected), rel=1e-12)


def test_a_short_step_measures_the_hessian() -> None:
    net, images, labels, _ = linear_fixture()
    # for h -> 0 the change is h H z, H = W'(diag p - pp')W, with an error of order h^2
    p = net(images).softmax(1)
    z = gradient(net, images, labels).sign()
    z = z / z.norm(dim=1, keepdim=True)
    s = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    hessian_z = torch.einsum("kd,nkl,le,ne->nd", net.weight, s, net.weight, z)
    found = Cure(h=1e-5)(context(net, images, labels)).value / 1e-5
    assert found == pytest.approx(float(hessian_z.norm(dim=1).mean()), rel=1e-3)


def test_the_linearity_error_lies_below_the_bound_of_the_curvature() -> None:
    net, images, labels, _ = linear_fixture()
    radius = 8 / 255
    found = LocalLinearity()(context(net, images, labels, threat=ThreatModel.parse("Linf", "8/255")))
    # |l(x+d) - l(x) - d.g| <= 1/2 max_u u'Hu: over the box for u = W d, ||W d||_inf <= radius * max_k ||w_k||_1, and
    # u'(diag p - pp')u <= (range of u / 2)^2
    spread = 2 * radius * float(net.weight.abs().sum(1).max())
    assert 0 < float(found.per_example.max()) <= 0.5 * (spread / 2) ** 2


def test_a_linear_loss_has_no_linearity_error() -> None:
    net, images, labels, _ = linear_fixture()
    net.weight.data *= 0
    assert LocalLinearity()(context(net, images, labels)).value == pytest.approx(0, abs=1e-15)


def test_zero_gradients_give_no_direction() -> None:
    net, images, labels, _ = linear_fixture()
    net.weight.data *= 0
    with pytest.raises(UndefinedMeasureError, match="every input gradient is zero"):
        Cure()(context(net, images, labels))
