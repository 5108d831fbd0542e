"""Projected steepest ascent on images (Madry et al. 2018): the one loop behind every attack that follows gradients.

x_0 = the start,  x_{t+1} = P(x_t + s * step * steepest(grad L(x_t))),  P the projection to ball and box, s = +-1.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from measurebench.attacks.geometry import per_example, project, steepest
from measurebench.core.threat import Norm

__all__ = ["NONFINITE_GRADIENTS", "Ascent", "Objective", "Step", "gradient_at"]

# The warning of an attack that met such gradients and took them for zero.
NONFINITE_GRADIENTS = "some gradients at the images are not finite and count as zero"

Objective = Callable[[Tensor], Tensor]


class Step(NamedTuple):
    """Where one step of an ascent ends, [n, ...], and the gradient [n, ...] that it followed."""

    points: Tensor
    gradient: Tensor


def gradient_at(objective: Objective, points: Tensor) -> Tensor:
    """Return the gradient [n, ...] of the objective, one value per example or their sum, at points [n, ...].

    It is zero where the objective does not depend on the points. Parameters get no gradient.

    >>> gradient_at(lambda x: x.square().flatten(1).sum(1), torch.tensor([[1.0], [3.0]]))
    tensor([[2.],
            [6.]])
    """
    with torch.enable_grad():
        leaf = points.detach().requires_grad_(True)
        value = objective(leaf)
        value = value.sum() if value.dim() else value
        if not value.requires_grad:
            return torch.zeros_like(points)
        (gradient,) = torch.autograd.grad(value, leaf, materialize_grads=True)
    return gradient


@dataclass(frozen=True)
class Ascent:
    """``steps`` steps of length ``step`` in a ball of ``radius`` and the box [0, 1]; both lengths in pixel units.

    ``radius`` and ``step`` are numbers or one per example, [n]. ``sign`` -1 descends. Entries of a gradient that are
    not finite count as zero: following them would make the image NaN, and the attack would seem to have failed.
    """

    norm: Norm
    radius: float | Tensor
    step: float | Tensor
    steps: int
    sign: float = 1.0

    def __call__(self, objective: Objective, centres: Tensor, start: Tensor) -> Tensor:
        """Return the last points [n, ...] of an ascent on ``objective`` around ``centres`` from ``start``."""
        points = start
        for step in self.iterates(objective, centres, start):
            points = step.points
        return points.detach()

    def iterates(self, objective: Objective, centres: Tensor, start: Tensor) -> Iterator[Step]:
        """Yield every step of an ascent from ``start`` [n, ...] in turn, without the start itself."""
        yield from self.along(lambda points: gradient_at(objective, points), centres, start)

    def along(self, gradient_of: Callable[[Tensor], Tensor], centres: Tensor, start: Tensor) -> Iterator[Step]:
        """Yield every step from ``start`` [n, ...] along the gradients [n, ...] that a function gives at the points."""
        points = start
        for _ in range(self.steps):
            gradient = gradient_of(points)
            points = self.moved(points, gradient, centres)
            yield Step(points, gradient)
            del gradient  # not to be held during the next passes

    def moved(self, points: Tensor, gradient: Tensor, centres: Tensor) -> Tensor:
        """Return points [n, ...] one step further along their gradients [n, ...], projected."""
        finite = gradient.nan_to_num(0.0, 0.0, 0.0)
        move = per_example(self.sign * self.step, points) * steepest(finite, self.norm)
        return project(points + move, centres, self.norm, self.radius)
