import pytest
import torch
from torch import Tensor, nn

from measurebench.measures.perturbation.directional import directional_derivatives
from tests.measures.cases import context, examples, network


@pytest.mark.parametrize("kind", ["convolutional", "preactivation"])
def test_derivatives_along_a_direction_are_products_with_each_gradient(kind: str) -> None:
    net = network(kind)
    images, labels = examples(net, 5)
    torch.manual_seed(0)
    direction = {name: torch.randn_like(p) for name, p in net.named_parameters()}
    found = directional_derivatives(context(net, images, labels), "clean", direction)
    net.requires_grad_(True)
    for i in range(5):
        loss = nn.functional.cross_entropy(net(images[i : i + 1]), labels[i : i + 1])
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        expected = sum((g * v).sum() for g, v in zip(gradients, direction.values(), strict=True))
        assert float(found[i]) == pytest.approx(expected.item(), rel=1e-10)


class OnceOnly(torch.autograd.Function):
    """The identity, whose gradient cannot be differentiated again."""

    @staticmethod
    def forward(_ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(_ctx: object, gradient: Tensor) -> Tensor:
        return gradient


def test_a_network_without_second_derivatives_is_differenced() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = plain

        def forward(self, x: Tensor) -> Tensor:
            return OnceOnly.apply(self.inner(x))

    images, labels = torch.rand(4, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    direction = {name: torch.ones_like(p) for name, p in plain.named_parameters()}
    exact = directional_derivatives(context(plain, images, labels), "clean", direction)
    wrapped = {f"inner.{name}": vector for name, vector in direction.items()}
    found = directional_derivatives(context(Wrapped(), images, labels), "clean", wrapped)
    # a central difference errs by its squared step, 1e-6 relative to the weights, times the curvature
    assert torch.allclose(found, exact, rtol=1e-4)
