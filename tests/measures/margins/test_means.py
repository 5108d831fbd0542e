import pytest
import torch
from torch import nn

from measurebench.measures.margins.means import MeanMargin
from tests.measures.cases import context, linear_fixture, two_class_linear


@pytest.mark.parametrize(
    ("kind", "expected"), [("logit", -1.446911840690), ("prob", -0.394395797551), ("norm_logit", -0.789743709778)]
)
def test_margins_of_the_linear_fixture(kind: str, expected: float) -> None:
    net, images, labels, _ = linear_fixture()
    assert MeanMargin(kind)(context(net, images, labels)).value == pytest.approx(expected, abs=1e-11)


def test_adversarial_margins_are_those_at_the_adversarial_examples() -> None:
    net, images, labels, attacked = linear_fixture()
    here = MeanMargin("logit", "pgd")(context(net, images, labels, adversarial=attacked))
    assert here.value == pytest.approx(MeanMargin("logit")(context(net, attacked, labels)).value, rel=1e-14)


def test_with_two_classes_the_probability_margin_is_a_hyperbolic_tangent() -> None:
    net = two_class_linear(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    images, labels = torch.rand(6, 3, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1, 0])
    here = context(net, images, labels)
    logit, prob = MeanMargin("logit")(here).per_example, MeanMargin("prob")(here).per_example
    # p_1 - p_0 = (e^m - 1) / (e^m + 1) = tanh(m / 2)
    assert torch.allclose(prob, torch.tanh(logit / 2), atol=1e-15)


def test_constant_logits_have_margin_zero_however_normalised() -> None:
    net = nn.Linear(2, 3).requires_grad_(False)
    net.weight.data.zero_()
    net.bias.data.fill_(5.0)
    here = context(net, torch.rand(4, 2), torch.tensor([0, 1, 2, 0]))
    assert MeanMargin("norm_logit")(here).value == 0.0


def test_the_standard_error_is_that_of_a_mean() -> None:
    net, images, labels, _ = linear_fixture()
    found = MeanMargin("logit")(context(net, images, labels))
    assert found.standard_error == pytest.approx(float(found.per_example.std()) / 5**0.5, rel=1e-12)
