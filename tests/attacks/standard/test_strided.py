"""Convolutions with a stride: their input gradient by phases is the library's."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from measurebench.attacks.standard.rewriting import rewritten
from measurebench.attacks.standard.strided import StridedConv2d, pays
from measurebench.models.architectures.cifar_resnet import resnet8_stride2

SHAPES = [
    (side, stride, padding)
    for side, stride, padding in itertools.product((1, 2, 3, 4, 5, 7), (2, 3), (0, 1, 2))
    if padding < side or side == 1
]


def gradients(layer: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs, and the gradient of a sum of them that weighs each differently."""
    points = images.clone().requires_grad_(True)
    outputs = layer(points)
    slope = torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype).sin().reshape(outputs.shape)
    return outputs.detach(), torch.autograd.grad(outputs, points, slope)[0]


@pytest.mark.parametrize(("side", "stride", "padding"), SHAPES)
@pytest.mark.parametrize("size", [(9, 12), (8, 8), (7, 7)])
def test_the_gradient_by_phases_is_that_of_the_library(
    side: int, stride: int, padding: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, side, stride, padding).double().requires_grad_(False)
    assert pays(layer)
    images = torch.rand(2, 3, *size, dtype=torch.float64)
    for found, expected in zip(gradients(StridedConv2d(layer), images), gradients(layer, images), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-13, rtol=1e-12)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 3, stride=1),
        nn.Conv2d(3, 4, (3, 5), stride=2),
        nn.Conv2d(3, 4, 3, stride=(1, 2)),
        nn.Conv2d(3, 4, 3, stride=2, padding=(0, 1)),
        nn.Conv2d(3, 4, 3, stride=2, dilation=2),
        nn.Conv2d(3, 6, 3, stride=2, groups=3),
        nn.Conv2d(3, 4, 3, stride=2, padding="valid"),
        nn.Conv2d(3, 4, 3, stride=2, padding=1, padding_mode="reflect"),
        nn.Conv2d(32, 4, 3, stride=2),
    ],
    ids=str,
)
def test_other_layers_keep_the_gradient_of_the_library(layer: nn.Conv2d) -> None:
    assert not pays(layer)


def test_a_network_with_strides_searches_with_phases_and_computes_the_same() -> None:
    torch.manual_seed(0)
    network = resnet8_stride2().eval().requires_grad_(False)
    images = torch.rand(4, 3, 32, 32)
    made = rewritten(network, images)
    assert made is not None
    assert [type(m) for m in made.modules()].count(StridedConv2d) == 2  # later layers have more channels
    for found, expected in zip(gradients(made, images), gradients(network, images), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_without_a_gradient_the_layer_itself_runs() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3, 2, 1).requires_grad_(False)
    images = torch.rand(4, 3, 8, 8)
    assert torch.equal(StridedConv2d(layer)(images), layer(images))
