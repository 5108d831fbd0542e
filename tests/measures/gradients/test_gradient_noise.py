import pytest
import torch
import torch.nn.functional as F

from measurebench.measures.gradients.gradient_noise import GradientNoise
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, examples, linear_fixture, network


def test_a_linear_network_has_the_trace_of_its_gradients_covariance() -> None:
    net, images, labels, _ = linear_fixture()
    p = net(images).softmax(1)
    p[torch.arange(5), labels] -= 1
    each = torch.cat([torch.einsum("nk,nd->nkd", p, images).flatten(1), p], 1)
    found = GradientNoise()(context(net, images, labels))
    assert found.value == pytest.approx(float(torch.cov(each.T).trace()), rel=1e-10)


@pytest.mark.parametrize("kind", ["residual", "preactivation"])
def test_it_is_the_covariance_of_gradients_taken_one_by_one(kind: str) -> None:
    net = network(kind)
    images, labels = examples(net, 6)
    found = GradientNoise()(context(net, images, labels, batch_size=4))
    net.requires_grad_(True)
    rows = []
    for image, label in zip(images, labels, strict=True):
        gradient = torch.autograd.grad(F.cross_entropy(net(image[None]), label[None]), list(net.parameters()))
        rows.append(torch.cat([part.flatten() for part in gradient]))
    net.requires_grad_(False)
    assert found.value == pytest.approx(float(torch.stack(rows).var(0).sum()), rel=1e-9)


def test_examples_that_agree_have_no_noise() -> None:
    net, images, labels, _ = linear_fixture()
    same = context(net, images[:1].repeat(4, 1), labels[:1].repeat(4))
    assert GradientNoise()(same).value == pytest.approx(0, abs=1e-12)


def test_one_example_has_no_variance() -> None:
    net, images, labels, _ = linear_fixture()
    with pytest.raises(UndefinedMeasureError, match="two examples"):
        GradientNoise()(context(net, images[:1], labels[:1]))
