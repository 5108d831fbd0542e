import math

import pytest
import torch

from measurebench.measures.api import measure
from measurebench.measures.flatness.adaptive_sharpness import AdaptiveSharpness, AverageAdaptiveSharpness
from tests.golden import flatness_reference as reference
from tests.measures.flatness.nets import KINDS, examples, linear_fixture, network, relu_pair


def value(item, net, images, labels, **options):
    (found,) = measure(net, images, labels, [item], **options).values()
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("norm", "rho"), [("l2", 0.3), ("linf", 0.01)])
def test_adaptive_sharpness_agrees_with_the_plain_reference(kind, norm, rho):
    net = network(kind, 2)
    images, labels = examples(net, 4)
    scale = {name: p.abs() for name, p in net.named_parameters()}
    found = value(AdaptiveSharpness(norm, rho=rho, n_steps=5), net, images, labels)
    assert found.value == pytest.approx(reference.ascend(net, images, labels, scale, norm, rho, 5), rel=1e-8)


def dual_norms():
    net, images, labels = linear_fixture()
    gradient = reference.weight_gradient(net, images, labels)
    return [(p, gradient[name]) for name, p in net.named_parameters()]


def test_a_small_ball_gives_the_dual_norm_of_the_scaled_gradient():
    # max over |u|_2 <= rho of g'(|w| u) is rho | |w| g |_2, over |u|_inf <= rho it is rho | |w| g |_1; the loss is
    # convex with Hessian below 1, so the remainder is at most (rho |w|)^2 / 2 < 1e-5 of it at rho = 1e-6
    pairs = dual_norms()
    l2 = math.sqrt(sum(float((p * g).square().sum()) for p, g in pairs))
    l1 = sum(float((p * g).abs().sum()) for p, g in pairs)
    fixture = linear_fixture()
    assert value(AdaptiveSharpness("l2", rho=1e-6), *fixture).value == pytest.approx(1e-6 * l2, rel=1e-4)
    assert value(AdaptiveSharpness("linf", rho=1e-6), *fixture).value == pytest.approx(1e-6 * l1, rel=1e-4)


def test_the_worst_case_lies_above_every_random_point_of_the_ball():
    net = network("convolutional")
    images, labels = examples(net, 10)
    worst = value(AdaptiveSharpness("linf", rho=0.02), net, images, labels).value
    random = value(AverageAdaptiveSharpness("linf", rho=0.02, n_draws=20), net, images, labels).value
    assert worst > max(random, 0)


@pytest.mark.parametrize("item", [AdaptiveSharpness("l2"), AdaptiveSharpness("linf", rho=2e-3)])
def test_adaptive_sharpness_survives_rescaling(item):
    images, labels = (
        torch.rand(9, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
        torch.arange(9) % 4,
    )
    values = [value(item, relu_pair(c), images, labels).value for c in (1.0, 10.0)]
    assert values[1] == pytest.approx(values[0], rel=1e-9)


def test_the_average_form_is_half_rho_squared_times_the_weighted_hessian_diagonal():
    # E[g'v + v'Hv/2] = rho^2/2 sum_j w_j^2 H_jj for v_j ~ N(0, rho^2 w_j^2) and rho^2/6 of it for the uniform one;
    # four standard errors of the draws are the tolerance, and one part in fifty for the fourth order at rho = 0.05
    net, images, labels = linear_fixture()
    names = [name for name, _ in net.named_parameters()]
    diagonal = reference.dense_hessian(net, images, labels, names).diagonal()
    weighted = float((torch.cat([p.flatten() for p in net.parameters()]) ** 2 * diagonal).sum())
    for norm, share in (("l2", 1 / 2), ("linf", 1 / 6)):
        found = value(AverageAdaptiveSharpness(norm, rho=0.05, n_draws=1000), net, images, labels)
        expected = share * 0.05**2 * weighted
        assert abs(found.value - expected) < 4 * found.diagnostics["standard_error_draws"] + expected / 50
