"""A defense: adversarial logit pairing."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from measurebench.training.objectives import register_objective

__all__ = ["LogitPairing"]


@register_objective("ALP", usual_beta=0.5)
@dataclass(frozen=True)
class LogitPairing:
    """Adversarial logit pairing (Kannan et al. 2018, arXiv:1803.06373, section 4): equal logits for x and x'."""

    beta: float
    adversarial: ClassVar[bool] = True
    start: ClassVar[str] = "uniform"  # where the attack starts

    def attack_loss(self, network: nn.Module, images: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the cross-entropy (logits [n, K], labels [n]) -> sum over images, which the attack maximises."""
        return partial(F.cross_entropy, reduction="sum")

    def loss(self, network: nn.Module, images: Tensor, adversarial: Tensor, labels: Tensor) -> Tensor:
        """Return CE(z', y) + beta mean |z - z'|^2, a scalar, for images [n, C, H, W] and labels [n]."""
        clean, attacked = network(images), network(adversarial)
        return F.cross_entropy(attacked, labels) + self.beta * (clean - attacked).square().mean()
