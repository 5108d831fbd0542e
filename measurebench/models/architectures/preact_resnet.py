"""Pre-activation residual networks (He et al. 2016, arXiv:1603.05027), with and without a last batch norm."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from measurebench.models.architectures import architecture
from measurebench.models.architectures.resnet import conv3x3

__all__ = [
    "SOURCE",
    "PreActBlock",
    "PreActResNet",
    "preactresnet18",
    "preactresnet18_bn",
    "preactresnet34",
    "preactresnet34_bn",
]

SOURCE = "He et al. 2016, arXiv:1603.05027"


class PreActBlock(nn.Module):
    """Batch norm, ReLU, convolution, twice; the projection starts after the first ReLU."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(n_in)
        self.conv1 = conv3x3(n_in, n_out, stride)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.conv2 = conv3x3(n_out, n_out)
        self.projects = stride != 1 or n_in != n_out
        if self.projects:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Map features [n, n_in, H, W] to [n, n_out, H/stride, W/stride]."""
        out = functional.relu(self.bn1(x))
        skip = self.shortcut(out) if self.projects else x
        result: Tensor = self.conv2(functional.relu(self.bn2(self.conv1(out)))) + skip
        return result


class PreActResNet(nn.Module):
    """Four stages; ``final_bn`` adds batch norm and ReLU (key ``bn``) before the pooling."""

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(self, n_blocks: tuple[int, int, int, int], n_classes: int, in_channels: int, final_bn: bool) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, 64)
        n_in = 64
        for stage, (width, count) in enumerate(zip((64, 128, 256, 512), n_blocks, strict=True), start=1):
            strides = [2 if stage > 1 else 1] + [1] * (count - 1)
            blocks = [PreActBlock(n_in if i == 0 else width, width, stride) for i, stride in enumerate(strides)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            n_in = width
        self.final_bn = final_bn
        if final_bn:
            self.bn = nn.BatchNorm2d(512)
        self.linear = nn.Linear(512, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, 32, 32] to logits [n, K]; larger images are pooled."""
        x = self.conv1(images)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        if self.final_bn:
            x = functional.relu(self.bn(x))
        logits: Tensor = self.linear(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))
        return logits


@architecture("preactresnet-18", source=SOURCE)
def preactresnet18(n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Return PreActResNet-18 without batch norm before the pooling."""
    return PreActResNet((2, 2, 2, 2), n_classes, in_channels, final_bn=False)


@architecture("preactresnet-34", source=SOURCE)
def preactresnet34(n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Return PreActResNet-34 without batch norm before the pooling."""
    return PreActResNet((3, 4, 6, 3), n_classes, in_channels, final_bn=False)


@architecture("preactresnet-18-bn", source=SOURCE)
def preactresnet18_bn(n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Return PreActResNet-18 with batch norm and ReLU before the pooling."""
    return PreActResNet((2, 2, 2, 2), n_classes, in_channels, final_bn=True)


@architecture("preactresnet-34-bn", source=SOURCE)
def preactresnet34_bn(n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Return PreActResNet-34 with batch norm and ReLU before the pooling."""
    return PreActResNet((3, 4, 6, 3), n_classes, in_channels, final_bn=True)
