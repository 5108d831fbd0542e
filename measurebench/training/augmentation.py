"""Augmentation per dataset: random shifts for digits, random crops and flips for natural images."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Augmentation", "augmentation_for"]


@dataclass(frozen=True)
class Augmentation:
    """Zero padding by ``shift`` pixels and a random crop of the original size; with ``flip`` half are mirrored."""

    shift: int
    flip: bool

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return augmented images [n, C, H, W]; each is shifted by up to ``shift`` pixels along both axes."""
        n, height, width = len(images), images.shape[2], images.shape[3]
        down, right = torch.randint(2 * self.shift + 1, (2, n), generator=generator).to(images.device)
        rows = down[:, None] + torch.arange(height, device=images.device)
        columns = right[:, None] + torch.arange(width, device=images.device)
        if self.flip:
            mirrored = torch.rand(n, generator=generator).to(images.device) < 0.5
            columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        padded = F.pad(images, [self.shift] * 4)
        example = torch.arange(n, device=images.device)[:, None, None]
        cropped = padded.permute(0, 2, 3, 1)[example, rows[:, :, None], columns[:, None, :]]
        return cropped.permute(0, 3, 1, 2).contiguous()


def augmentation_for(dataset: str, image_size: int) -> Augmentation:
    """Return a dataset's augmentation: digits shift by one pixel, CIFAR is padded by four and flipped.

    Images of the user's own are shifted by an eighth of their size and not flipped: their meaning may not
    survive a mirror.
    """
    if dataset == "digits":
        return Augmentation(shift=1, flip=False)
    if dataset.startswith("cifar"):
        return Augmentation(shift=4, flip=True)
    return Augmentation(shift=max(1, image_size // 8), flip=False)
