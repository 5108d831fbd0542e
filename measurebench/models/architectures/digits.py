"""Three small convolutional networks for 1x8x8 images: plain, residual and pre-activation.

Measures treat these patterns differently: convolutions with biases and no normalisation; batch norm directly after
each convolution, which can be folded into it exactly; and pre-activation residual blocks (He et al. 2016, "Identity
mappings in deep residual networks"), whose batch norms cannot be folded into the convolution before them.

All three first gather patches of 2x2 pixels into channels (the inverse of eq. 4 of Shi et al. 2016, arXiv:1609.05158)
and then work on the 4x4 grid without strides. On a CPU, the input gradient of one strided 3x3 convolution on 8x8
images took longer than all other convolutions of a forward and backward pass together.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from measurebench.models.architectures import architecture

__all__ = [
    "SOURCE",
    "PlainNet",
    "PreActivationBlock",
    "PreActivationNet",
    "ResidualBlock",
    "ResidualNet",
    "digits_plain",
    "digits_preact",
    "digits_resnet",
]

SOURCE = "this project; blocks after He et al. 2016, arXiv:1512.03385 and arXiv:1603.05027"
_PATCH = 2


def _conv3x3(n_in: int, n_out: int, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, kernel_size=3, padding=1, bias=bias)


class PlainNet(nn.Module):
    """Three convolutions with biases on the 4x4 grid of patches and a linear layer; no normalisation."""

    def __init__(self, width: int, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(_PATCH**2 * in_channels, width, bias=True)
        self.conv2 = _conv3x3(width, 2 * width, bias=True)
        self.conv3 = _conv3x3(2 * width, 2 * width, bias=True)
        self.linear = nn.Linear(2 * width * 16, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, 8, 8] to logits [n, K]."""
        features = F.relu(self.conv1(F.pixel_unshuffle(images, _PATCH)))
        features = F.relu(self.conv2(features))
        features = F.relu(self.conv3(features))
        logits: Tensor = self.linear(torch.flatten(features, 1))
        return logits


class ResidualBlock(nn.Module):
    """Convolution, batch norm, ReLU, convolution, batch norm, plus the projected shortcut, then ReLU."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv3x3(n_in, n_out), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = _conv3x3(n_out, n_out), nn.BatchNorm2d(n_out)
        projection = nn.Conv2d(n_in, n_out, kernel_size=1, bias=False)
        self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(n_out))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map features [n, n_in, H, W] to [n, n_out, H, W]."""
        features = F.relu(self.bn1(self.conv1(inputs)))
        return F.relu(self.bn2(self.conv2(features)) + self.shortcut(inputs))


class ResidualNet(nn.Module):
    """A stem and one residual block on the 4x4 grid of patches, each convolution followed by its own batch norm."""

    def __init__(self, width: int, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv3x3(_PATCH**2 * in_channels, width), nn.BatchNorm2d(width)
        self.block1 = ResidualBlock(width, 2 * width)
        self.linear = nn.Linear(2 * width * 4, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, 8, 8] to logits [n, K]."""
        features = self.block1(F.relu(self.bn1(self.conv1(F.pixel_unshuffle(images, _PATCH)))))
        logits: Tensor = self.linear(torch.flatten(F.avg_pool2d(features, 2), 1))
        return logits


class PreActivationBlock(nn.Module):
    """Batch norm, ReLU, convolution, twice; the shortcut is projected after the first ReLU."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(n_in), _conv3x3(n_in, n_out)
        self.bn2, self.conv2 = nn.BatchNorm2d(n_out), _conv3x3(n_out, n_out)
        self.shortcut = nn.Conv2d(n_in, n_out, kernel_size=1, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map features [n, n_in, H, W] to [n, n_out, H, W]."""
        activated = F.relu(self.bn1(inputs))
        features: Tensor = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        shortcut: Tensor = self.shortcut(activated)
        return features + shortcut


class PreActivationNet(nn.Module):
    """A stem, one pre-activation block on the 4x4 grid of patches and a last batch norm before pooling."""

    def __init__(self, width: int, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(_PATCH**2 * in_channels, width)
        self.block1 = PreActivationBlock(width, 2 * width)
        self.bn = nn.BatchNorm2d(2 * width)
        self.linear = nn.Linear(2 * width * 4, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, 8, 8] to logits [n, K]."""
        features = F.relu(self.bn(self.block1(self.conv1(F.pixel_unshuffle(images, _PATCH)))))
        logits: Tensor = self.linear(torch.flatten(F.avg_pool2d(features, 2), 1))
        return logits


@architecture("digits-plain", source=SOURCE, image_shape=(1, 8, 8))
def digits_plain(n_classes: int = 10, in_channels: int = 1, width: int = 16) -> nn.Module:
    """Return the plain network: convolutions with biases, no normalisation."""
    return PlainNet(width, in_channels, n_classes)


@architecture("digits-resnet", source=SOURCE, image_shape=(1, 8, 8))
def digits_resnet(n_classes: int = 10, in_channels: int = 1, width: int = 16) -> nn.Module:
    """Return the residual network: batch norm after every convolution."""
    return ResidualNet(width, in_channels, n_classes)


@architecture("digits-preact", source=SOURCE, image_shape=(1, 8, 8))
def digits_preact(n_classes: int = 10, in_channels: int = 1, width: int = 16) -> nn.Module:
    """Return the pre-activation network, whose batch norms precede the convolutions."""
    return PreActivationNet(width, in_channels, n_classes)
