"""The network as a third-party library of attacks sees it: it counts its images and has finite gradients."""

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Counting"]


class Counting(nn.Module):
    """The network, counting the images that pass through it; float32 outside, the attack's own, ``dtype`` within.

    More than ``at_once`` images go through in parts, each computed again when its gradient is taken, so that the
    memory is that of one part. Entries of a gradient at the images that are not finite become zero, and
    ``saw_nonfinite`` tells that there were some: libraries follow them to NaN, and count that as robust.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype, at_once: int) -> None:
        super().__init__()
        self.network, self.dtype, self.at_once = network, dtype, at_once
        self.n_forward = 0
        self.saw_nonfinite = False

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [n, K] of images [n, ...]."""
        self.n_forward += len(images)
        inputs = images.to(self.dtype)
        if images.requires_grad:
            inputs = _FiniteGradient.apply(inputs, self)
        if len(images) <= self.at_once:
            logits: Tensor = self.network(inputs)
        else:
            from torch.utils.checkpoint import checkpoint

            parts = [checkpoint(self.network, part, use_reentrant=False) for part in torch.split(inputs, self.at_once)]
            logits = torch.cat(parts)
        return logits.to(images.dtype)


class _FiniteGradient(torch.autograd.Function):
    """The identity, whose gradient is zero where it would not be finite."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, owner: Counting) -> Tensor:
        ctx.owner = owner
        return images.view_as(images)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        ctx.owner.saw_nonfinite |= not bool(gradient.isfinite().all())
        return gradient.nan_to_num(0.0, 0.0, 0.0), None
