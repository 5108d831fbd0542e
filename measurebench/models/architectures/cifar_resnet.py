"""The residual networks that He et al. designed for CIFAR-10: three stages of 16, 32 and 64 channels."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from measurebench.models.architectures import architecture
from measurebench.models.architectures.resnet import conv3x3

__all__ = ["CifarResNet", "resnet8", "resnet8_stride2", "resnet20", "resnet56"]

_SOURCE = "He et al. 2016, arXiv:1512.03385, section 4.2"


class _Block(nn.Module):
    """Two 3x3 convolutions; where the shape changes, the shortcut drops pixels and adds empty channels."""

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(n_in, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.n_empty = stride, (width - n_in) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map features [n, n_in, H, W] to [n, width, H/stride, W/stride]."""
        out = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if self.n_empty:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.n_empty, self.n_empty))
        return functional.relu(out + x)


class CifarResNet(nn.Module):
    """A network of 6 ``n_blocks`` + 2 layers whose shortcuts have no weights (the paper's option A)."""

    def __init__(self, n_blocks: int, n_classes: int, in_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, 16, stride)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, 1, n_blocks)
        self.layer2 = self._stage(16, 32, 2, n_blocks)
        self.layer3 = self._stage(32, 64, 2, n_blocks)
        self.linear = nn.Linear(64, n_classes)

    @staticmethod
    def _stage(n_in: int, width: int, stride: int, n_blocks: int) -> nn.Sequential:
        rest = (_Block(width, width, 1) for _ in range(n_blocks - 1))
        return nn.Sequential(_Block(n_in, width, stride), *rest)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, 32, 32] to logits [n, K]; larger images are pooled."""
        x = functional.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))
        return logits


@architecture("resnet-8", source=_SOURCE)
def resnet8(n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Return the network of 8 layers: one block a stage, fewer than the paper has."""
    return CifarResNet(1, n_classes, in_channels)


@architecture("resnet-8-stride2", source=_SOURCE)
def resnet8_stride2(n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Return the network of 8 layers whose first convolution has stride 2: a quarter of the work."""
    return CifarResNet(1, n_classes, in_channels, stride=2)


@architecture("resnet-20", source=_SOURCE)
def resnet20(n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Return the network of 20 layers, the paper's smallest."""
    return CifarResNet(3, n_classes, in_channels)


@architecture("resnet-56", source=_SOURCE)
def resnet56(n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Return the network of 56 layers."""
    return CifarResNet(9, n_classes, in_channels)
