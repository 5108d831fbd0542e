"""Steepest ascent on any objective of each example within the threat model's ball and box, for measures."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from measurebench.attacks import ascent
from measurebench.attacks.starts import Start, keyed_start
from measurebench.core.threat import Norm
from measurebench.measures.context import MeasureContext

__all__ = ["Ascent", "Objective", "Start"]

Objective = Callable[[slice, Tensor], Tensor]


@dataclass(frozen=True)
class Ascent:
    """``steps`` steepest steps of ``step_fraction`` times the radius; the last iterate counts.

    ``start`` is uniform in the ball, a Gaussian of deviation 0.001 around the image, or the image; ``sign`` -1
    descends. The start depends on each example's key, the seed and the name alone. ``norm`` stands in for that of the
    threat model.
    """

    name: str
    steps: int = 10
    step_fraction: float = 0.25
    start: Start = "uniform"
    sign: float = 1.0
    norm: Norm | None = None

    def __call__(self, context: MeasureContext, objective: Objective) -> Tensor:
        """Return the points [n, ...] where the ascent on ``objective(rows, points) -> [rows]`` ends."""
        norm, radius, seed = self.norm or context.threat.norm, context.threat.radius, context.settings.seed
        climb = ascent.Ascent(norm, radius, self.step_fraction * radius, self.steps, self.sign)

        def run(rows: slice) -> Tensor:
            images = context.images[rows]
            start = keyed_start(self.start, images, context.keys[rows], norm, radius, seed, self.name)
            return climb(lambda points: objective(rows, points), images, start)

        return context.batches.cat(run, context.n)
