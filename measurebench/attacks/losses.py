"""What attacks climb: losses of logits and labels, summed over examples."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from measurebench.attacks.ascent import gradient_at

__all__ = ["Loss", "cross_entropy_sum", "input_gradient"]

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of logits [n, K] and labels [n], summed, a scalar.

    A mean would scale every example's gradient by the number of examples beside it.
    """
    return F.cross_entropy(logits, labels, reduction="sum")


def input_gradient(network: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> Tensor:
    """Return the gradient of a summed loss at each image, [n, ...]; parameters get none."""
    return gradient_at(lambda points: loss(network(points), labels), images)
