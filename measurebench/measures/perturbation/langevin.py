"""Langevin dynamics in weight space around a centre (Welling and Teh 2011; Lau et al. 2023)."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from measurebench.core.info import Examples
from measurebench.measures.context import MeasureContext
from measurebench.measures.perturbation.weight_noise import Tensors

__all__ = ["Langevin", "loss_and_gradient"]

Numbers = Callable[[int], Tensors]
Gradient = Callable[[Tensors], tuple[Tensor, Tensors]]


@dataclass(frozen=True)
class Langevin:
    """The chain w' = w - step / 2 (weight grad L(w) + pull (w - centre)) + sqrt(step) * noise, from the centre.

    Its limit for small steps is the density exp(-weight L(w) - pull / 2 ||w - centre||^2).
    """

    step: float
    weight: float
    pull: float
    n_steps: int

    def losses(self, gradient: Gradient, centre: Tensors, noise: Numbers) -> Iterator[Tensor]:
        """Yield L at every point of the chain after the centre, ``n_steps`` scalar tensors.

        ``gradient`` gives L, a scalar, and its gradient by name, each in the same shape as its weight; ``noise`` gives
        the standard normal numbers of a step in the same shapes.
        """
        point = dict(centre)
        _, slope = gradient(point)
        for index in range(self.n_steps):
            numbers = noise(index)
            point = {
                name: value
                - self.step / 2 * (self.weight * slope[name] + self.pull * (value - centre[name]))
                + math.sqrt(self.step) * numbers[name]
                for name, value in point.items()
            }
            loss, slope = gradient(point)
            yield loss


def loss_and_gradient(context: MeasureContext, kind: Examples, weights: Tensors) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the mean cross-entropy under other parameters, a float64 scalar, and its gradient by name in their shapes.

    Gradients have the same shape and dtype as the parameters; batches are added up in float64.
    """
    images, labels = context.examples(kind), context.labels
    leaves = {name: value.detach().requires_grad_(True) for name, value in weights.items()}

    def run(rows: slice) -> tuple[Tensor, tuple[Tensor, ...]]:
        with torch.enable_grad():
            logits = context.logits_with(leaves, images[rows])
            loss = F.cross_entropy(logits.double(), labels[rows], reduction="sum")
            slopes = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
        return loss.detach(), slopes

    total, sums = torch.zeros((), dtype=torch.float64, device=images.device), dict[str, Tensor]()
    for loss, slopes in context.batches.each(run, context.n):
        total = total + loss
        sums = {
            name: sums[name] + slope if name in sums else slope.double()
            for name, slope in zip(leaves, slopes, strict=True)
        }
    return total / context.n, {name: (value / context.n).to(weights[name]) for name, value in sums.items()}
