import pytest
import torch

from measurebench.measures.gradients.x_grad_norm import InputGradientNorm
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, examples, linear_fixture, network


@pytest.mark.parametrize(("kind", "expected"), [("", 2.378067959049), ("l1", 4.297695823340), ("rms", 2.593684306501)])
def test_norms_of_the_linear_fixture(kind: str, expected: float) -> None:
    net, images, labels, _ = linear_fixture()
    assert InputGradientNorm(kind)(context(net, images, labels)).value == pytest.approx(expected, abs=1e-11)


def test_each_norm_is_that_of_the_closed_form() -> None:
    net, images, labels, attacked = linear_fixture()
    p = net(attacked).softmax(1)
    p[torch.arange(5), labels] -= 1
    expected = (p @ net.weight).norm(dim=1)  # W'(p - e_y)
    found = InputGradientNorm("", "pgd")(context(net, images, labels, adversarial=attacked))
    assert torch.allclose(found.per_example, expected, rtol=1e-13)


def test_norms_are_ordered() -> None:
    net = network("residual")
    here = context(net, *examples(net))
    l1, l2, rms = (InputGradientNorm(kind)(here).value for kind in ("l1", "", "rms"))
    assert l1 >= rms >= l2
    assert l1 <= 8 * l2  # 64 pixels


def test_saturated_predictions_have_no_gradient_norm() -> None:
    net, images, _, _ = linear_fixture()
    net.weight.data *= 1e6
    labels = net(images).argmax(1)
    with pytest.raises(UndefinedMeasureError, match="saturated"):
        InputGradientNorm()(context(net, images, labels))


def test_the_share_of_exact_zeros_is_told() -> None:
    net, images, labels, _ = linear_fixture()
    net.weight.data *= 1e6  # all sure; four of the five labels are wrong
    found = InputGradientNorm()(context(net, images, labels))
    assert found.diagnostics["zero_gradients"] == pytest.approx(0.2)
