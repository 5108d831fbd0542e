"""Wide residual networks of any depth and width (Zagoruyko and Komodakis 2016, arXiv:1605.07146)."""

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from measurebench.core.errors import BadInputError
from measurebench.models.architectures import Architecture, architecture
from measurebench.models.architectures.resnet import conv3x3

__all__ = ["SOURCE", "WideBlock", "WideResNet", "WideStage", "wide_resnet", "wide_resnet_of"]

SOURCE = "Zagoruyko and Komodakis 2016, arXiv:1605.07146"


class WideBlock(nn.Module):
    """Batch norm, ReLU, convolution, twice; where the width changes, the skip is a 1x1 convolution."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(n_in)
        self.conv1 = conv3x3(n_in, n_out, stride)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.conv2 = conv3x3(n_out, n_out)
        self.projects = n_in != n_out
        if self.projects:
            self.convShortcut = nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map features [n, n_in, H, W] to [n, n_out, H/stride, W/stride]."""
        out = functional.relu(self.bn1(x))
        skip = self.convShortcut(out) if self.projects else x
        result: Tensor = self.conv2(functional.relu(self.bn2(self.conv1(out)))) + skip
        return result


class WideStage(nn.Module):
    """Blocks of one width, under the name ``layer``."""

    def __init__(self, n_blocks: int, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        blocks = [WideBlock(n_in if i == 0 else n_out, n_out, stride if i == 0 else 1) for i in range(n_blocks)]
        self.layer = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Map features [n, n_in, H, W] to [n, n_out, H/stride, W/stride]."""
        out: Tensor = self.layer(x)
        return out


class WideResNet(nn.Module):
    """Three stages with the names that the code of TRADES made common (``block1.layer.0.conv1``, ``fc``).

    That code also keeps a stage ``sub_block1`` which no image ever passes; checkpoints that hold it are read
    without it, so that weights which do nothing do not count in norms.
    """

    unused_weights: ClassVar[tuple[str, ...]] = ("sub_block1.",)

    def __init__(self, depth: int, width: int, n_classes: int, in_channels: int) -> None:
        super().__init__()
        if (depth - 4) % 6 or depth < 10 or width < 1:
            raise BadInputError("wide residual network", "a depth of 6n + 4 and a width from 1", f"{depth}-{width}")
        n_blocks = (depth - 4) // 6
        self.conv1 = conv3x3(in_channels, 16)
        self.block1 = WideStage(n_blocks, 16, 16 * width, 1)
        self.block2 = WideStage(n_blocks, 16 * width, 32 * width, 2)
        self.block3 = WideStage(n_blocks, 32 * width, 64 * width, 2)
        self.bn1 = nn.BatchNorm2d(64 * width)
        self.fc = nn.Linear(64 * width, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, 32, 32] to logits [n, K]; larger images are pooled."""
        x = self.block3(self.block2(self.block1(self.conv1(images))))
        x = functional.adaptive_avg_pool2d(functional.relu(self.bn1(x)), 1)
        logits: Tensor = self.fc(torch.flatten(x, 1))
        return logits


def wide_resnet(depth: int = 28, width: int = 10, n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Return the wide residual network of this depth (6n + 4) and width."""
    return WideResNet(depth, width, n_classes, in_channels)


def wide_resnet_of(depth: int, width: int) -> Architecture:
    """Return the architecture that ``wrn-DEPTH-WIDTH`` names."""
    return Architecture(f"wrn-{depth}-{width}", partial(wide_resnet, depth, width), SOURCE, (3, 32, 32))


for _depth, _width in ((16, 4), (28, 4), (28, 10), (34, 10), (34, 20), (70, 16)):
    architecture(f"wrn-{_depth}-{_width}", source=SOURCE)(partial(wide_resnet, _depth, _width))
