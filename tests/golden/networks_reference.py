"""Batch norm, path norm and operator norms of the digits networks, written out by hand for each of the four.

What feeds what is known here from the networks' definition, not traced: an independent answer for the folding,
the squared network and the sizes of the layers.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - scale * norm.running_mean


def scaled(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    return conv.weight * affine(norm)[0][:, None, None, None]


def effective(net: nn.Module, kind: str) -> list[Tensor]:
    """The matrices whose norms count with batch norm folded; norms that stay are diagonal."""
    if kind == "wide":
        return [net[1].weight, net[3].weight]
    if kind == "convolutional":
        return [net.conv1.weight, net.conv2.weight, net.conv3.weight, net.linear.weight]
    block = net.block1
    if kind == "residual":
        pairs = [(net.conv1, net.bn1), (block.conv1, block.bn1), (block.conv2, block.bn2), tuple(block.shortcut)]
        return [*(scaled(conv, norm) for conv, norm in pairs), net.linear.weight]
    return [
        scaled(net.conv1, block.bn1),
        scaled(block.conv1, block.bn2),
        block.conv2.weight,
        block.shortcut.weight,
        net.linear.weight,
        torch.diag(affine(net.bn)[0]),
    ]


def log_product(matrices: list[Tensor], spectral: bool) -> float:
    flat = [m.reshape(len(m), -1) for m in matrices]
    norms = [float(torch.linalg.matrix_norm(m, 2 if spectral else "fro")) ** 2 for m in flat]
    return math.fsum(math.log(norm) for norm in norms)


def squared_conv(x: Tensor, weight: Tensor, bias: Tensor | None, conv: nn.Conv2d) -> Tensor:
    return F.conv2d(x, weight.square(), None if bias is None else bias.square(), conv.stride, conv.padding)


def folded_conv(x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """conv then norm, folded, with weight and bias squared."""
    return squared_conv(x, scaled(conv, norm), affine(norm)[1], conv)


def path_norm(net: nn.Module, kind: str) -> float:
    """The all-ones image through the squared network; activations are left out, since nothing is negative."""
    x = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    if kind == "wide":
        hidden = F.linear(x.flatten(1), net[1].weight.square(), net[1].bias.square())
        return float(F.linear(hidden, net[3].weight.square(), net[3].bias.square()).sum())
    if kind == "convolutional":
        for conv in (net.conv1, net.conv2, net.conv3):
            x = squared_conv(x, conv.weight, conv.bias, conv)
    elif kind == "residual":
        x = folded_conv(x, net.conv1, net.bn1)
        block = net.block1
        branch = folded_conv(folded_conv(x, block.conv1, block.bn1), block.conv2, block.bn2)
        x = branch + folded_conv(x, *block.shortcut)
    else:
        block = net.block1
        x = folded_conv(x, net.conv1, block.bn1)
        branch = folded_conv(x, block.conv1, block.bn2)
        x = squared_conv(branch, block.conv2.weight, None, block.conv2) + squared_conv(
            x, block.shortcut.weight, None, block.shortcut
        )
        scale, shift = affine(net.bn)
        x = x * scale.square()[:, None, None] + shift.square()[:, None, None]
    if kind != "convolutional":
        x = F.avg_pool2d(x, 2)
    return float(F.linear(x.flatten(1), net.linear.weight.square(), net.linear.bias.square()).sum())


SIZES = {
    "convolutional": {"conv1": 8, "conv2": 8, "conv3": 4},
    "residual": {"conv1": 8, "block1.conv1": 8, "block1.conv2": 4, "block1.shortcut.0": 8},
    "preactivation": {"conv1": 8, "block1.conv1": 8, "block1.conv2": 4, "block1.shortcut": 8},
    "wide": {},
}


def dense(conv: nn.Conv2d, size: int, circular: bool) -> float:
    """The squared norm of a convolution's matrix, from the images of all unit images."""
    n = conv.in_channels * size**2
    units = torch.eye(n, dtype=torch.float64).reshape(n, conv.in_channels, size, size)
    if not circular:
        made = F.conv2d(units, conv.weight, None, conv.stride, conv.padding)
    else:
        wrap = conv.kernel_size[0] - 1
        wrapped = F.pad(units, (0, wrap, 0, wrap), mode="circular") if wrap else units
        made = F.conv2d(wrapped, conv.weight, None, conv.stride)
    return float(torch.linalg.matrix_norm(made.flatten(1), 2)) ** 2


def operator_product(net: nn.Module, kind: str, circular: bool) -> float:
    total = 0.0
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            total += math.log(dense(module, SIZES[kind][name], circular))
        elif isinstance(module, nn.Linear):
            total += math.log(float(torch.linalg.matrix_norm(module.weight, 2)) ** 2)
    return total
