"""Normalisation as part of the network, so that every attack and measure works on images in [0, 1]."""

import torch
from torch import Tensor, nn

from measurebench.core.errors import BadInputError
from measurebench.core.specs import Normalization


class Normalized(nn.Module):
    """The network applied to (images - mean) / std, channel by channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, normalization: Normalization) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(normalization.mean, dtype=torch.float64).float().view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(normalization.std, dtype=torch.float64).float().view(-1, 1, 1))
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images [n, C, H, W] in [0, 1]."""
        if images.shape[1] != len(self.mean) and len(self.mean) > 1:
            raise BadInputError("images", f"{len(self.mean)} channels, as the normalisation has", str(images.shape[1]))
        out: Tensor = self.network((images - self.mean) / self.std)
        return out


def normalized(network: nn.Module, normalization: Normalization) -> nn.Module:
    """Return the network with its normalisation in front; the network itself where there is none."""
    return Normalized(network, normalization) if normalization.mean else network
