"""Makes the normalisation a part of the network, so that attacks and measures work on images in [0, 1]."""

import torch
import torch.fx
from torch import Tensor, nn

from measurebench.core.errors import BadInputError
from measurebench.core.specs import ModelSpec, Normalization

__all__ = ["Normalized", "chosen_normalization", "normalized", "unnormalized"]


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
        """Return logits [n, K] of images [n, C, H, W] in [0, 1]. Raises BadInputError for other channels."""
        images = _with_channels(images, len(self.mean))
        out: Tensor = self.network((images - self.mean) / self.std)
        return out


# Wrapped, so that its condition does not keep the network from being traced (see torch.fx).
@torch.fx.wrap
def _with_channels(images: Tensor, n: int) -> Tensor:
    """Return the images [n, C, H, W], or raise BadInputError where the n channels expected are others."""
    if images.shape[1] != n and n > 1:
        raise BadInputError("images", f"{n} channels, as the normalisation has", str(images.shape[1]))
    return images


def normalized(network: nn.Module, normalization: Normalization) -> nn.Module:
    """Return the network with the normalisation in front, or the network itself if there is none."""
    return Normalized(network, normalization) if normalization.mean else network


def unnormalized(network: nn.Module) -> nn.Module:
    """Return the network without its normalisation: the part whose weights a checkpoint holds."""
    return network.network if isinstance(network, Normalized) else network


def chosen_normalization(spec: ModelSpec, kept: Normalization | None) -> Normalization:
    """Return the normalisation to use: the stated one, else the one kept in the file, else (in a manifest) none.

    Raises BadInputError if the two differ, and if a checkpoint that is not in a manifest has neither.
    """
    stated = spec.normalization
    if not stated.stated:
        if kept is None and not _is_in_manifest(spec):
            raise BadInputError(
                f"{spec.locator}: normalization",
                "none, cifar10 or imagenet",
                "nothing",
                "say with --normalization how images were scaled in training (none: they were not)",
            )
        return kept or Normalization()
    if kept is not None and not _same(stated, kept):
        raise BadInputError(
            f"{spec.locator}: normalization",
            f"that of the file's own buffers, {_text(kept)}",
            _text(stated),
            "leave it out to use the file's",
        )
    return stated


def _is_in_manifest(spec: ModelSpec) -> bool:
    """Tell a manifest's entry, where nothing said means none, from a checkpoint named alone."""
    return spec.source != "local" or spec.reference.endswith(f"#{spec.id}")


def _same(a: Normalization, b: Normalization) -> bool:
    """Compare two normalisations to a thousandth; mean 0 and deviation 1 is none."""
    return _near(a.mean or (0.0,), b.mean or (0.0,)) and _near(a.std or (1.0,), b.std or (1.0,))


def _near(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Compare two lists of numbers to a thousandth; one number alone stands for every channel."""
    length = max(len(a), len(b))
    first, second = (numbers * length if len(numbers) == 1 else numbers for numbers in (a, b))
    return len(first) == len(second) and all(abs(x - y) < 1e-3 for x, y in zip(first, second, strict=True))


def _text(normalization: Normalization) -> str:
    """Write a normalisation."""
    if not normalization.mean:
        return "none"
    return f"mean {[round(x, 4) for x in normalization.mean]}, std {[round(x, 4) for x in normalization.std]}"
