"""Projected gradient descent (Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks")."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from measurebench.attacks.geometry import project, random_start, steepest
from measurebench.core.threat import ThreatModel

__all__ = ["PGD", "Loss", "cross_entropy_sum", "input_gradient"]

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the summed cross-entropy: a mean would scale every example's gradient by the batch size."""
    return F.cross_entropy(logits, labels, reduction="sum")


def input_gradient(network: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> Tensor:
    """Return the gradient of the summed loss at each image, [n, ...]; parameters get none."""
    with torch.enable_grad():
        points = images.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(network(points), labels), points)
    return gradient


@dataclass(frozen=True)
class PGD:
    """Ascent on the cross-entropy by steepest steps, projected to the threat model; the last iterate counts.

    ``step_fraction`` is the step over the radius (1/4: 2/255 for 8/255). With ``targets`` the loss towards
    them descends. The random start depends on each example's key, the seed and the name alone.
    """

    threat: ThreatModel
    steps: int = 10
    step_fraction: float = 0.25
    start: bool = True
    loss: Loss = cross_entropy_sum
    name: str = "pgd"

    def __call__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        keys: Tensor,
        seed: int,
        targets: Tensor | None = None,
    ) -> Tensor:
        """Return adversarial images [n, ...] within the radius and [0, 1], in the dtype of ``images``.

        ``keys`` int64 [n] name the examples; ``targets`` int64 [n] are classes to reach.
        """
        norm, radius = self.threat.norm, self.threat.radius
        points = images.detach()
        if self.start:
            points = random_start(points, keys, norm, radius, seed, self.name)
        sign = 1.0 if targets is None else -1.0
        aim = labels if targets is None else targets
        for _ in range(self.steps):
            gradient = sign * input_gradient(network, points, aim, self.loss)
            points = project(points + self.step_fraction * radius * steepest(gradient, norm), images, norm, radius)
        return points.detach()
