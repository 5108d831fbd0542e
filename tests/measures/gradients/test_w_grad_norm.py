import pytest
import torch

from measurebench.measures.gradients.w_grad_norm import WeightGradientNorm
from measurebench.measures.value import UndefinedMeasureError
from tests.measures.cases import context, examples, linear_fixture, network


@pytest.mark.parametrize(
    ("kind", "expected"), [("", 0.678680117442), ("weights", 0.588616935569), ("per_example", 1.535775941680)]
)
def test_norms_of_the_linear_fixture(kind: str, expected: float) -> None:
    net, images, labels, _ = linear_fixture()
    assert WeightGradientNorm(kind)(context(net, images, labels)).value == pytest.approx(expected, abs=1e-11)


def test_the_mean_of_norms_is_not_below_the_norm_of_the_mean() -> None:
    net = network("preactivation")
    here = context(net, *examples(net))
    assert WeightGradientNorm("per_example")(here).value >= WeightGradientNorm()(here).value


def test_the_shares_of_the_examples_average_to_the_norm() -> None:
    # u . mean_i g_i = ||g|| for u = g / ||g||
    net = network("residual")
    found = WeightGradientNorm()(context(net, *examples(net)))
    assert float(found.per_example.mean()) == pytest.approx(found.value, rel=1e-11)


def test_its_standard_error_is_that_of_the_jackknife_when_examples_are_many() -> None:
    net, _, _, _ = linear_fixture()
    torch.manual_seed(0)
    images, labels = torch.rand(400, 4, dtype=torch.float64), torch.randint(0, 3, (400,))
    found = WeightGradientNorm()(context(net, images, labels))
    p = net(images).softmax(1)
    p[torch.arange(400), labels] -= 1
    each = torch.cat([torch.einsum("nk,nd->nkd", p, images).flatten(1), p], 1)
    left_out = ((each.sum(0) - each) / 399).norm(dim=1)
    jackknife = float(((399 / 400) * (left_out - left_out.mean()).square().sum()).sqrt())
    # both are first-order: they differ by terms of order 1/n
    assert found.standard_error == pytest.approx(jackknife, rel=0.02)


def test_no_gradient_has_no_norm() -> None:
    net, images, _, _ = linear_fixture()
    net.weight.data *= 1e6
    with pytest.raises(UndefinedMeasureError, match="saturated"):
        WeightGradientNorm()(context(net, images, net(images).argmax(1)))
