"""Steepest ascent on any objective of each example within the threat model's ball and box."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from measurebench.attacks import noise
from measurebench.attacks.geometry import project, random_start, steepest
from measurebench.measures.context import MeasureContext

__all__ = ["GAUSSIAN_START", "Ascent", "Objective", "Start"]

Objective = Callable[[slice, Tensor], Tensor]
Start = Literal["uniform", "gaussian"]
GAUSSIAN_START = 0.001


@dataclass(frozen=True)
class Ascent:
    """``steps`` steepest steps of ``step_fraction`` times the radius; the last iterate counts.

    ``start`` is uniform in the ball, or a Gaussian of deviation 0.001 around the image; ``sign`` -1 descends. The
    start depends on each example's key, the seed and the name alone.
    """

    name: str
    steps: int = 10
    step_fraction: float = 0.25
    start: Start = "uniform"
    sign: float = 1.0

    def __call__(self, context: MeasureContext, objective: Objective) -> Tensor:
        """Return the points [n, ...] where the ascent on ``objective(rows, points) -> [rows]`` ends."""
        return context.batches.cat(lambda rows: self._climb(context, objective, rows), context.n)

    def _climb(self, context: MeasureContext, objective: Objective, rows: slice) -> Tensor:
        norm, radius = context.threat.norm, context.threat.radius
        images = context.images[rows]
        points = self._begin(context, rows)
        for _ in range(self.steps):
            with torch.enable_grad():
                leaf = points.detach().requires_grad_(True)
                (gradient,) = torch.autograd.grad(objective(rows, leaf).sum(), leaf)
            step = self.sign * self.step_fraction * radius
            points = project(points + step * steepest(gradient, norm), images, norm, radius)
        return points.detach()

    def _begin(self, context: MeasureContext, rows: slice) -> Tensor:
        images, keys = context.images[rows], context.keys[rows]
        norm, radius, seed = context.threat.norm, context.threat.radius, context.settings.seed
        if self.start == "uniform":
            return random_start(images, keys, norm, radius, seed, self.name)
        drawn = noise.normal(keys, images.shape[1:], seed, self.name, dtype=images.dtype)
        return project(images + GAUSSIAN_START * drawn, images, norm, radius)
