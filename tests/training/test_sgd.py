"""Our optimizer against torch's own."""

import torch
from torch import nn

from measurebench.training.sgd import SGD


def _steps(make) -> list[torch.Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    optimizer = make(network.parameters())
    inputs, labels = torch.randn(10, 4), torch.arange(10) % 3
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    return [parameter.detach() for parameter in network.parameters()]


def test_five_steps_equal_those_of_torch() -> None:
    ours = _steps(lambda p: SGD(p, 0.1, 0.9, 0.01))
    theirs = _steps(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01))
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_parameters_without_a_gradient_stay() -> None:
    moving, resting = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = SGD([moving, resting], 0.1, 0.9, 0.0)
    moving.sum().backward()
    optimizer.step()
    assert torch.equal(resting.detach(), torch.ones(2))
    assert torch.allclose(moving.detach(), torch.full((2,), 0.9))
