import torch
from torch import Tensor, nn

from measurebench.attacks.counting import Counting


def gradient(network: nn.Module, images: Tensor) -> Tensor:
    leaf = images.clone().requires_grad_(True)
    (found,) = torch.autograd.grad(network(leaf).square().sum(), leaf)
    return found


class Root(nn.Module):
    """The identity through a root and a square, whose gradient is NaN at 0."""

    def forward(self, images: Tensor) -> Tensor:
        return images.sqrt().square()


def test_finite_gradients_and_logits_are_left_alone_to_the_last_bit() -> None:
    torch.manual_seed(0)
    network, images = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), torch.rand(7, 6)
    counting = Counting(network, torch.float32, 7)
    assert torch.equal(counting(images), network(images))
    assert torch.equal(gradient(counting, images), gradient(network, images))
    assert (counting.n_forward, counting.saw_nonfinite) == (14, False)


def test_gradients_that_are_not_finite_become_zero_and_are_noted() -> None:
    images = torch.tensor([[0.0, 0.5], [0.25, 1.0]])
    assert bool(gradient(Root(), images).isnan().any())
    counting = Counting(Root(), torch.float32, 2)
    torch.testing.assert_close(gradient(counting, images), torch.tensor([[0.0, 1.0], [0.5, 2.0]]))
    assert counting.saw_nonfinite


def test_parts_give_the_same_gradients() -> None:
    torch.manual_seed(0)
    network, images = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), torch.rand(7, 6)
    torch.testing.assert_close(gradient(Counting(network, torch.float32, 3), images), gradient(network, images))
    parts = Counting(Root(), torch.float32, 1)
    assert bool(gradient(parts, torch.tensor([[0.0, 0.5], [0.25, 1.0]])).isfinite().all())
