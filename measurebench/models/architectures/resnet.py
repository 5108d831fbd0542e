"""Residual networks for 32x32 images (He et al. 2016, arXiv:1512.03385), with a 3x3 stem."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from measurebench.models.architectures import architecture

__all__ = [
    "SOURCE",
    "BasicBlock",
    "Bottleneck",
    "Naming",
    "ResNet",
    "conv3x3",
    "resnet18",
    "resnet18_torchvision",
    "resnet34",
    "resnet34_torchvision",
    "resnet50",
    "resnet50_torchvision",
]

SOURCE = "He et al. 2016, arXiv:1512.03385"
Naming = Literal["shortcut", "downsample"]


def conv3x3(n_in: int, n_out: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution without bias."""
    return nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)


class _Block(nn.Module):
    """A residual block; its projection is called ``shortcut`` or ``downsample``."""

    expansion = 1

    def _project(self, n_in: int, n_out: int, stride: int, naming: Naming) -> None:
        """Add the projection that a change of shape needs; ``shortcut`` is there even when empty."""
        needed = stride != 1 or n_in != n_out
        layers = (nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out)) if needed else ()
        if needed or naming == "shortcut":
            self.add_module(naming, nn.Sequential(*layers))
        self.naming = naming

    def _skip(self, x: Tensor) -> Tensor:
        """Apply the projection, where there is one."""
        projection = getattr(self, self.naming, None)
        out: Tensor = x if projection is None else projection(x)
        return out


class BasicBlock(_Block):
    """Two 3x3 convolutions."""

    def __init__(self, n_in: int, width: int, stride: int, naming: Naming) -> None:
        super().__init__()
        self.conv1 = conv3x3(n_in, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self._project(n_in, width, stride, naming)

    def forward(self, x: Tensor) -> Tensor:
        """Map features [n, n_in, H, W] to [n, expansion * width, H/stride, W/stride]."""
        out = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(out)) + self._skip(x))


class Bottleneck(_Block):
    """A 1x1, a 3x3 (with the stride) and a 1x1 convolution, four times as wide at its end."""

    expansion = 4

    def __init__(self, n_in: int, width: int, stride: int, naming: Naming) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self._project(n_in, 4 * width, stride, naming)

    def forward(self, x: Tensor) -> Tensor:
        """Map features [n, n_in, H, W] to [n, expansion * width, H/stride, W/stride]."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = functional.relu(self.bn2(self.conv2(out)))
        return functional.relu(self.bn3(self.conv3(out)) + self._skip(x))


class ResNet(nn.Module):
    """Four stages of residual blocks; the last layer is ``linear``, or ``fc`` with torchvision's names."""

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential
    linear: nn.Linear
    fc: nn.Linear

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        n_blocks: tuple[int, int, int, int],
        n_classes: int,
        in_channels: int,
        naming: Naming = "shortcut",
        max_pool: bool = False,
    ) -> None:
        super().__init__()
        self.naming, self.max_pool = naming, max_pool
        self.conv1 = conv3x3(in_channels, 64)
        self.bn1 = nn.BatchNorm2d(64)
        n_in = 64
        for stage, (width, count) in enumerate(zip((64, 128, 256, 512), n_blocks, strict=True), start=1):
            blocks = []
            for i in range(count):
                blocks.append(block(n_in, width, 2 if i == 0 and stage > 1 else 1, naming))
                n_in = width * block.expansion
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.add_module("linear" if naming == "shortcut" else "fc", nn.Linear(n_in, n_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, 32, 32] to logits [n, K]; larger images are pooled."""
        x = functional.relu(self.bn1(self.conv1(images)))
        if self.max_pool:
            x = functional.max_pool2d(x, 3, stride=2, padding=1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        head = self.linear if self.naming == "shortcut" else self.fc
        logits: Tensor = head(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))
        return logits


@architecture("resnet-18", source=SOURCE)
def resnet18(n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Return ResNet-18 with the names ``shortcut`` and ``linear``."""
    return ResNet(BasicBlock, (2, 2, 2, 2), n_classes, in_channels)


@architecture("resnet-34", source=SOURCE)
def resnet34(n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Return ResNet-34 with the names ``shortcut`` and ``linear``."""
    return ResNet(BasicBlock, (3, 4, 6, 3), n_classes, in_channels)


@architecture("resnet-50", source=SOURCE)
def resnet50(n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Return ResNet-50 with the names ``shortcut`` and ``linear``."""
    return ResNet(Bottleneck, (3, 4, 6, 3), n_classes, in_channels)


@architecture("resnet-18-torchvision", source=SOURCE)
def resnet18_torchvision(n_classes: int = 10, in_channels: int = 3, max_pool: bool = False) -> nn.Module:
    """Return ResNet-18 with the names ``downsample`` and ``fc``; ``max_pool`` pools after the stem."""
    return ResNet(BasicBlock, (2, 2, 2, 2), n_classes, in_channels, "downsample", max_pool)


@architecture("resnet-34-torchvision", source=SOURCE)
def resnet34_torchvision(n_classes: int = 10, in_channels: int = 3, max_pool: bool = False) -> nn.Module:
    """Return ResNet-34 with the names ``downsample`` and ``fc``; ``max_pool`` pools after the stem."""
    return ResNet(BasicBlock, (3, 4, 6, 3), n_classes, in_channels, "downsample", max_pool)


@architecture("resnet-50-torchvision", source=SOURCE)
def resnet50_torchvision(n_classes: int = 10, in_channels: int = 3, max_pool: bool = False) -> nn.Module:
    """Return ResNet-50 with the names ``downsample`` and ``fc``; ``max_pool`` pools after the stem."""
    return ResNet(Bottleneck, (3, 4, 6, 3), n_classes, in_channels, "downsample", max_pool)
