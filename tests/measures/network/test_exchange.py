import pytest
import torch
from torch import nn
from torch.func import functional_call

from measurebench.measures.api import measure
from measurebench.measures.network.exchange import Exchange


class _Tied(nn.Module):
    """A weight that two layers share, and a batch norm with buffers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.norm(self.second(self.first(images.flatten(1)).relu()))
        return logits


class _Twice(nn.Module):
    """Registers each of its layers under two names, as many networks do."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.first, self.last = layers[0], layers[-1]
        self.body = nn.Sequential(nn.Flatten(), *layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.body(images)
        return logits


def _layers() -> list[nn.Module]:
    torch.manual_seed(1)
    return [nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 5)]


def test_tied_weights_and_buffers_are_exchanged_as_torch_does():
    net, images = _Tied().eval(), torch.rand(3, 4)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    tensors = {"first.weight": torch.rand(4, 4), "norm.running_mean": torch.rand(4)}
    exchange = Exchange(net, tensors)
    assert exchange._places is not None
    assert torch.equal(exchange(images), functional_call(net, tensors, (images,)))
    assert not torch.equal(exchange(images), net(images))
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in before.items())


def test_two_values_for_one_tied_weight_are_refused():
    exchange = Exchange(_Tied().eval(), {name: torch.rand(4, 4) for name in ("first.weight", "second.weight")})
    with pytest.raises(ValueError, match="multiple values"):
        exchange(torch.rand(2, 4))


def test_an_error_inside_the_network_leaves_its_weights_in_place():
    net = nn.Sequential(nn.Linear(4, 4))
    weight = net[0].weight
    with pytest.raises(RuntimeError):
        Exchange(net, {"0.weight": torch.rand(4, 4)})(torch.rand(2, 5))
    assert net[0].weight is weight


def test_a_network_with_layers_under_two_names_is_left_as_found_and_measured_as_under_one():
    images = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    net, plain = _Twice(_layers()).eval(), nn.Sequential(nn.Flatten(), *_layers()).eval()
    before = [tensor.clone() for tensor in net.parameters()]
    ids = ["path_norm", "average_flat", "pacbayes_flat", "estimated_sharpness", "w_grad_norm", "average_ce"]
    found, expected = (measure(n, images, plain(images).argmax(1), ids) for n in (net, plain))
    assert all(torch.equal(now, was) for now, was in zip(net.parameters(), before, strict=True))
    assert {name: v.value for name, v in found.items()} == {name: v.value for name, v in expected.items()}
