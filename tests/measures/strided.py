"""Networks with strides for 1x8x8 images, beside the shipped ones, which have none: plain, residual, pre-activation.

Strided convolutions and strided 1x1 shortcuts are what norms, spectra and path norms most easily get wrong.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _conv3x3(n_in: int, n_out: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, kernel_size=3, stride=stride, padding=1, bias=bias)


class PlainNet(nn.Module):
    """Three convolutions with biases (8x8, then twice 4x4) and a linear layer; no normalisation."""

    def __init__(self, width: int, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, width, bias=True)
        self.conv2 = _conv3x3(width, 2 * width, stride=2, bias=True)
        self.conv3 = _conv3x3(2 * width, 2 * width, bias=True)
        self.linear = nn.Linear(2 * width * 16, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, 8, 8] to logits [n, K]."""
        features = F.relu(self.conv1(images))
        features = F.relu(self.conv2(features))
        features = F.relu(self.conv3(features))
        logits: Tensor = self.linear(torch.flatten(features, 1))
        return logits


class ResidualBlock(nn.Module):
    """Convolution, batch norm, ReLU, convolution, batch norm, plus the shortcut, then ReLU."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv3x3(n_in, n_out, stride), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = _conv3x3(n_out, n_out), nn.BatchNorm2d(n_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            projection = nn.Conv2d(n_in, n_out, kernel_size=1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(n_out))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map features [n, n_in, H, W] to [n, n_out, H/stride, W/stride]."""
        features = F.relu(self.bn1(self.conv1(inputs)))
        return F.relu(self.bn2(self.conv2(features)) + self.shortcut(inputs))


class ResidualNet(nn.Module):
    """A stem (8x8) and one residual block to 4x4, each convolution followed by its own batch norm."""

    def __init__(self, width: int, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv3x3(in_channels, width), nn.BatchNorm2d(width)
        self.block1 = ResidualBlock(width, 2 * width, stride=2)
        self.linear = nn.Linear(2 * width * 4, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, 8, 8] to logits [n, K]."""
        features = self.block1(F.relu(self.bn1(self.conv1(images))))
        logits: Tensor = self.linear(torch.flatten(F.avg_pool2d(features, 2), 1))
        return logits


class PreActivationBlock(nn.Module):
    """Batch norm, ReLU, convolution, twice; the shortcut leaves after the first ReLU when the shape changes."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(n_in), _conv3x3(n_in, n_out, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(n_out), _conv3x3(n_out, n_out)
        self.shortcut: nn.Conv2d | None = None
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Conv2d(n_in, n_out, kernel_size=1, stride=stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map features [n, n_in, H, W] to [n, n_out, H/stride, W/stride]."""
        activated = F.relu(self.bn1(inputs))
        features: Tensor = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        return features + (inputs if self.shortcut is None else self.shortcut(activated))


class PreActivationNet(nn.Module):
    """A wide stem (8x8), one pre-activation block to 4x4 and a last batch norm before pooling."""

    def __init__(self, width: int, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, width)
        self.block1 = PreActivationBlock(width, 2 * width, stride=2)
        self.bn = nn.BatchNorm2d(2 * width)
        self.linear = nn.Linear(2 * width * 4, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, 8, 8] to logits [n, K]."""
        features = F.relu(self.bn(self.block1(self.conv1(images))))
        logits: Tensor = self.linear(torch.flatten(F.avg_pool2d(features, 2), 1))
        return logits


def strided(kind: str, width: int) -> nn.Module:
    """Return the network of a kind: convolutional, residual or preactivation, for 10 classes."""
    built: nn.Module = {"convolutional": PlainNet, "residual": ResidualNet, "preactivation": PreActivationNet}[kind](
        width, 1, 10
    )
    return built


def with_statistics(net: nn.Module) -> nn.Module:
    """Give every batch norm weights and statistics that are not the initial ones, drawn from torch's generator."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            module.running_mean = torch.randn_like(module.running_mean) * 0.2
            module.running_var = torch.rand_like(module.running_var) + 0.5
    return net
