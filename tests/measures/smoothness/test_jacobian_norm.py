import pytest
import torch
from torch import Tensor, nn

from measurebench.measures.smoothness.jacobian_norm import JacobianNorm
from tests.measures.cases import context, examples, linear_fixture, network


def test_a_linear_network_has_the_norm_of_its_weight() -> None:
    net, images, labels, _ = linear_fixture()
    found = JacobianNorm()(context(net, images, labels))
    assert found.value == pytest.approx(float(net.weight.norm()), rel=1e-12)
    assert found.standard_error == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kind", ["residual", "preactivation"])
def test_it_is_the_norm_of_torch_s_jacobian(kind: str) -> None:
    net = network(kind)
    images, labels = examples(net, 4)
    each = [torch.autograd.functional.jacobian(net, image[None]).norm() for image in images]
    found = JacobianNorm()(context(net, images, labels, batch_size=3))
    assert torch.allclose(found.per_example, torch.stack(each), rtol=1e-10)


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach().new_ones(len(x), 3)


def test_a_network_that_ignores_the_image_has_norm_zero() -> None:
    _, images, labels, _ = linear_fixture()
    assert JacobianNorm()(context(Constant(), images, labels)).value == 0
