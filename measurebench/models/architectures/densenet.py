"""DenseNet-121 for 32x32 images (Huang et al. 2017, arXiv:1608.06993)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from measurebench.models.architectures import architecture

__all__ = ["SOURCE", "DenseLayer", "DenseNet", "Transition", "densenet121"]

SOURCE = "Huang et al. 2017, arXiv:1608.06993"


class DenseLayer(nn.Module):
    """A 1x1 and a 3x3 convolution whose output is put before what came in."""

    def __init__(self, n_in: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(n_in)
        self.conv1 = nn.Conv2d(n_in, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map features [n, n_in, H, W] to [n, growth + n_in, H, W]."""
        out = self.conv1(functional.relu(self.bn1(x)))
        out = self.conv2(functional.relu(self.bn2(out)))
        return torch.cat([out, x], dim=1)


class Transition(nn.Module):
    """Halves channels and resolution."""

    def __init__(self, n_in: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(n_in)
        self.conv = nn.Conv2d(n_in, n_in // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map features [n, n_in, H, W] to [n, n_in/2, H/2, W/2]."""
        return functional.avg_pool2d(self.conv(functional.relu(self.bn(x))), 2)


class DenseNet(nn.Module):
    """Four dense blocks ``dense1`` to ``dense4`` with transitions ``trans1`` to ``trans3``."""

    dense1: nn.Sequential
    dense2: nn.Sequential
    dense3: nn.Sequential
    dense4: nn.Sequential
    trans1: Transition
    trans2: Transition
    trans3: Transition

    def __init__(self, n_layers: tuple[int, int, int, int], growth: int, n_classes: int, in_channels: int) -> None:
        super().__init__()
        width = 2 * growth
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        for number, count in enumerate(n_layers, start=1):
            layers = [DenseLayer(width + i * growth, growth) for i in range(count)]
            self.add_module(f"dense{number}", nn.Sequential(*layers))
            width += count * growth
            if number < len(n_layers):
                self.add_module(f"trans{number}", Transition(width))
                width //= 2
        self.bn = nn.BatchNorm2d(width)
        self.linear = nn.Linear(width, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, 32, 32] to logits [n, K]."""
        x = self.trans1(self.dense1(self.conv1(images)))
        x = self.trans3(self.dense3(self.trans2(self.dense2(x))))
        x = functional.relu(self.bn(self.dense4(x)))
        logits: Tensor = self.linear(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))
        return logits


@architecture("densenet-121", source=SOURCE)
def densenet121(n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Return DenseNet-121 with growth 32."""
    return DenseNet((6, 12, 24, 16), 32, n_classes, in_channels)
