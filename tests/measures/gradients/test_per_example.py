"""Norms of single examples' gradients against one backward pass per example."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from measurebench.measures.gradients import per_example
from measurebench.measures.gradients.per_example import per_example_norms
from tests.measures.cases import context, examples, network


def one_by_one(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    parameters = [p.requires_grad_(True) for p in net.parameters()]
    norms = []
    for i in range(len(images)):
        gradients = torch.autograd.grad(
            F.cross_entropy(net(images[i : i + 1]), labels[i : i + 1]), parameters, materialize_grads=True
        )
        norms.append(torch.stack([g.square().sum() for g in gradients]).sum().sqrt())
    net.requires_grad_(False)
    return torch.stack(norms)


def randomised(net: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean, module.running_var = torch.randn(module.num_features), torch.rand(module.num_features)
            nn.init.normal_(module.weight)
    return net.double().eval()


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, stride=2, dilation=2, groups=4),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 20, (2, 1)),
        nn.Flatten(),
        nn.Linear(40, 5),
    )


IMAGES = torch.rand(6, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])


@pytest.mark.parametrize("batch", [1, 4, 6])
def test_norms_are_those_of_one_backward_pass_per_example(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    net = randomised(convolutional())
    expected = one_by_one(net, IMAGES, LABELS)
    here = context(net, IMAGES, LABELS)
    here.batches.size = batch
    assert per_example_norms(here, "clean").tolist() == pytest.approx(expected.tolist(), rel=1e-12)
    monkeypatch.setattr(per_example, "_HELD", 100)  # every layer one example at a time
    assert per_example_norms(here, "clean").tolist() == pytest.approx(expected.tolist(), rel=1e-12)


def test_plain_layers_are_not_differentiated_example_by_example(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    whole = per_example._whole
    monkeypatch.setattr(per_example, "_whole", lambda c, i, rows: asked.append(rows.stop) or whole(c, i, rows))
    per_example_norms(context(randomised(convolutional()), IMAGES, LABELS), "clean")
    assert asked == [1]  # the check


@pytest.mark.parametrize("kind", ["convolutional", "residual", "preactivation"])
def test_norms_of_the_test_networks(kind: str) -> None:
    net = network(kind)
    images, labels = examples(net, 5)
    expected = one_by_one(net, images, labels)
    assert per_example_norms(context(net, images, labels), "clean").tolist() == pytest.approx(
        expected.tolist(), rel=1e-10
    )


def test_a_linear_layer_at_many_positions_sums_over_them() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 8 * 6, 5)).double()
    expected = one_by_one(net, IMAGES, LABELS)
    assert per_example_norms(context(net, IMAGES, LABELS), "clean").tolist() == pytest.approx(
        expected.tolist(), rel=1e-12
    )


class Twice(nn.Module):
    """Uses one weight in two ways: called twice, or a second time outside its module."""

    def __init__(self, outside: bool) -> None:
        super().__init__()
        self.layer, self.head, self.outside = nn.Linear(192, 192), nn.Linear(192, 5), outside

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.layer(x.flatten(1)))
        h = F.linear(h, self.layer.weight, self.layer.bias) if self.outside else self.layer(h)
        return self.head(h)


@pytest.mark.parametrize("outside", [False, True])
def test_a_weight_that_is_used_twice_counts_twice(outside: bool) -> None:
    torch.manual_seed(0)
    net = Twice(outside).double()
    expected = one_by_one(net, IMAGES, LABELS)
    assert per_example_norms(context(net, IMAGES, LABELS), "clean").tolist() == pytest.approx(
        expected.tolist(), rel=1e-12
    )


class Constant(nn.Module):
    """Adds what a layer makes of a constant, which no image reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(3, 5), nn.Linear(192, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1)) + self.layer(input=torch.ones(1, 3, dtype=x.dtype, device=x.device))


def test_a_layer_that_reads_a_constant_counts() -> None:
    torch.manual_seed(0)
    net = Constant().double()
    expected = one_by_one(net, IMAGES, LABELS)
    assert per_example_norms(context(net, IMAGES, LABELS), "clean").tolist() == pytest.approx(
        expected.tolist(), rel=1e-12
    )


def test_parameters_of_other_modules_are_differentiated_example_by_example() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.LayerNorm(192), nn.Linear(192, 5)).double()
    expected = one_by_one(net, IMAGES, LABELS)
    assert per_example_norms(context(net, IMAGES, LABELS), "clean").tolist() == pytest.approx(
        expected.tolist(), rel=1e-12
    )
