"""Small convolutional networks that are common in papers on certification and adversarial training."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from measurebench.models.architectures import architecture

__all__ = ["SmallCNN", "cnn_mnist", "cnn_oval", "cnn_small"]


def _stack(convolutions: tuple[tuple[int, int, int, int, int], ...], hidden: int, n_classes: int) -> nn.Module:
    """Convolutions (in, out, kernel, stride, padding) with ReLU, then two linear layers."""
    layers: list[nn.Module] = []
    size = 32
    for n_in, n_out, kernel, stride, padding in convolutions:
        layers += [nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=padding), nn.ReLU()]
        size = (size + 2 * padding - kernel) // stride + 1
    flat = convolutions[-1][1] * size * size
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, n_classes))


@architecture("cnn-small", source="Wong and Kolter 2018, arXiv:1711.00851")
def cnn_small(n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Return two 4x4 convolutions of stride 2 (16, 32 channels) and two linear layers, for 32x32."""
    return _stack(((in_channels, 16, 4, 2, 1), (16, 32, 4, 2, 1)), 100, n_classes)


@architecture("cnn-oval", source="Lu and Kumar 2020, arXiv:1912.01329")
def cnn_oval(n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Return four convolutions of 8 channels and two linear layers, for 32x32 images."""
    layers = ((in_channels, 8, 4, 2, 1), (8, 8, 3, 1, 1), (8, 8, 3, 1, 1), (8, 8, 4, 2, 1))
    return _stack(layers, 100, n_classes)


class SmallCNN(nn.Module):
    """Four 3x3 convolutions and three linear layers for 28x28 images."""

    def __init__(self, n_classes: int, in_channels: int) -> None:
        super().__init__()
        features: OrderedDict[str, nn.Module] = OrderedDict()
        widths = (in_channels, 32, 32, 64, 64)
        for i in range(1, 5):
            features[f"conv{i}"] = nn.Conv2d(widths[i - 1], widths[i], 3)
            features[f"relu{i}"] = nn.ReLU()
            if i % 2 == 0:
                features[f"maxpool{i // 2}"] = nn.MaxPool2d(2, 2)
        self.feature_extractor = nn.Sequential(features)
        self.classifier = nn.Sequential(
            OrderedDict[str, nn.Module](
                fc1=nn.Linear(64 * 4 * 4, 200),
                relu1=nn.ReLU(),
                drop=nn.Dropout(),
                fc2=nn.Linear(200, 200),
                relu2=nn.ReLU(),
                fc3=nn.Linear(200, n_classes),
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, 28, 28] to logits [n, K]."""
        logits: Tensor = self.classifier(torch.flatten(self.feature_extractor(images), 1))
        return logits


@architecture("cnn-mnist", source="Zhang et al. 2019, arXiv:1901.08573", image_shape=(1, 28, 28))
def cnn_mnist(n_classes: int = 10, in_channels: int = 1) -> nn.Module:
    """Return the network that TRADES trained on MNIST."""
    return SmallCNN(n_classes, in_channels)
