"""VGG networks with batch norm for 32x32 images (Simonyan and Zisserman 2015, arXiv:1409.1556)."""

from functools import partial

import torch
from torch import Tensor, nn

from measurebench.models.architectures import architecture

__all__ = ["SOURCE", "STAGES", "VGG", "vgg"]

SOURCE = "Simonyan and Zisserman 2015, arXiv:1409.1556"

STAGES: dict[int, tuple[tuple[int, ...], ...]] = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    13: ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
    19: ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),
}


class VGG(nn.Module):
    """Convolutions with batch norm in ``features``, one linear layer ``classifier``."""

    def __init__(self, depth: int, n_classes: int, in_channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n_in = in_channels
        for stage in STAGES[depth]:
            for width in stage:
                layers += [nn.Conv2d(n_in, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                n_in = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(512, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, C, H, W] of at least 32x32 to logits [n, K]."""
        features = self.features(images)
        logits: Tensor = self.classifier(torch.flatten(nn.functional.adaptive_avg_pool2d(features, 1), 1))
        return logits


def vgg(depth: int, n_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Return the VGG network with batch norm of depth 11, 13, 16 or 19."""
    return VGG(depth, n_classes, in_channels)


for _depth in STAGES:
    architecture(f"vgg-{_depth}", source=SOURCE)(partial(vgg, _depth))
