"""Worst-case weights in a ball: projected gradient ascent on the mean loss over all examples at once.

The best iterate counts. Steps follow a fixed schedule, so that no decision depends on the last digit of a loss;
Auto-PGD (Croce and Hein 2020) halves its step when progress stalls instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from measurebench.attacks.ascent import Ascent
from measurebench.core.info import Examples
from measurebench.measures.context import MeasureContext
from measurebench.measures.perturbation.weight_noise import Tensors, length, precise_losses

__all__ = ["BallNorm", "Iterate", "WeightBall", "WorstCase", "fading", "rise_at"]

BallNorm = Literal["l2", "linf", "layer_l2"]
# Below any length that a float32 gradient can have, so that it only guards the division by zero.
_TINY = 1e-30


@dataclass(frozen=True)
class WeightBall:
    """All v = scale * u with norm(u) <= radius: ``scales`` per tensor (a number or a tensor of its shape).

    ``l2`` and ``linf`` take the norm over all tensors together; ``layer_l2`` bounds the L2 norm of each one. Offsets
    and gradients are tensors of any shape by the name of their parameter.
    """

    scales: Mapping[str, Tensor | float]
    norm: BallNorm
    radius: float

    def shift(self, u: Tensors) -> dict[str, Tensor]:
        """Return v for u."""
        return {name: value * self.scales[name] for name, value in u.items()}

    def pull_back(self, gradient: Tensors) -> dict[str, Tensor]:
        """Return the gradient with respect to u for one with respect to v."""
        return {name: gradient[name] * scale for name, scale in self.scales.items()}

    def direction(self, gradient: Tensors) -> dict[str, Tensor]:
        """Return the step of norm one that a linear function climbs fastest."""
        if self.norm == "linf":
            return {name: value.sign() for name, value in gradient.items()}
        return self._scaled(gradient, 1.0, enlarge=True)

    def project(self, u: Tensors) -> dict[str, Tensor]:
        """Return the nearest point in the ball."""
        if self.norm == "linf":
            return {name: value.clamp(-self.radius, self.radius) for name, value in u.items()}
        return self._scaled(u, self.radius, enlarge=False)

    def _scaled(self, u: Tensors, size: float, *, enlarge: bool) -> dict[str, Tensor]:
        joint = length(u.values()) if self.norm == "l2" else None
        factors = {name: size / max(length([value]) if joint is None else joint, _TINY) for name, value in u.items()}
        return {name: value * (factors[name] if enlarge else min(factors[name], 1.0)) for name, value in u.items()}


@dataclass(frozen=True)
class Iterate:
    """One point of the ascent: v, the images it was judged on, and the logits there [n, K]."""

    shift: Tensors
    images: Tensor
    logits: Tensor


@dataclass(frozen=True)
class WorstCase:
    """Ascent in a ball of weights; with ``attack_images`` the images climb too, within the threat model.

    ``step_lengths`` are in units of the ball's radius, one per iteration; ``momentum`` is the share of the last move
    that the next one keeps, as in Auto-PGD.
    """

    ball: WeightBall
    step_lengths: Sequence[float]
    momentum: float = 0.0
    attack_images: bool = False

    def iterates(
        self,
        context: MeasureContext,
        kind: Examples,
        n: int,
        start: Tensors | None = None,
        points: Tensor | None = None,
    ) -> Iterator[Iterate]:
        """Yield every iterate on the first n examples.

        The ascent begins at u = ``start`` (zero unless given) and at images ``points`` [n, ...] (the examples of
        this kind unless given).
        """
        parameters = context.parameters
        names = list(self.ball.scales)
        u: Tensors = start or {name: torch.zeros_like(parameters[name]) for name in names}
        previous = u
        origin, current = context.images[:n], context.examples(kind)[:n] if points is None else points
        for step in [*self.step_lengths, None]:
            shift = self.ball.shift(u)
            if step is None:
                yield Iterate(shift, current, self._logits(context, parameters, shift, current))
                return
            logits, at_weights, at_images = self._gradients(context, parameters, shift, current)
            yield Iterate(shift, current, logits)
            u, previous = self._stepped(u, previous, at_weights, step), u
            if self.attack_images:
                radius = context.threat.radius
                climb = Ascent(context.threat.norm, radius, context.settings.pgd_step_fraction * radius, steps=1)
                current = climb.moved(current, at_images, origin)

    def _stepped(self, u: Tensors, previous: Tensors, gradient: Tensors, step: float) -> dict[str, Tensor]:
        """One ascent step with momentum: the new point keeps part of the last move."""
        direction = self.ball.direction(self.ball.pull_back(gradient))
        reach = step * self.ball.radius
        moved = self.ball.project({name: value + reach * direction[name].to(value) for name, value in u.items()})
        if not self.momentum or all(torch.equal(u[name], previous[name]) for name in u):
            return moved
        share = 1 - self.momentum
        blended = {
            name: u[name] + share * (moved[name] - u[name]) + self.momentum * (u[name] - previous[name]) for name in u
        }
        return self.ball.project(blended)

    def _logits(self, context: MeasureContext, parameters: Tensors, shift: Tensors, images: Tensor) -> Tensor:
        weights = {**parameters, **{name: parameters[name] + value for name, value in shift.items()}}
        with torch.no_grad():
            return context.batches.cat(lambda rows: context.logits_with(weights, images[rows]), len(images))

    def _gradients(
        self, context: MeasureContext, parameters: Tensors, shift: Tensors, images: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Logits, the summed loss's gradient at the shifted weights (float64), and at the images if they climb."""
        weights = {name: (parameters[name] + value).requires_grad_(True) for name, value in shift.items()}

        def run(rows: slice) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...]]:
            points = images[rows].detach().requires_grad_(self.attack_images)
            logits = context.logits_with({**parameters, **weights}, points)
            loss = F.cross_entropy(logits, context.labels[rows], reduction="sum")
            wanted = [*weights.values(), *([points] if self.attack_images else [])]
            found = torch.autograd.grad(loss, wanted, materialize_grads=True)
            return logits.detach(), found[-1] if self.attack_images else None, found[: len(weights)]

        totals = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in shift.items()}
        logits, at_images = [], []
        with torch.enable_grad():
            for output, at_points, at_weights in context.batches.each(run, len(images)):
                logits.append(output)
                at_images.append(torch.empty(0) if at_points is None else at_points)
                for name, gradient in zip(weights, at_weights, strict=True):
                    totals[name] += gradient
        return torch.cat(logits), totals, torch.cat(at_images)


def rise_at(context: MeasureContext, kind: Examples, iterate: Iterate | None, n: int) -> Tensor:
    """Return each example's rise of the loss from the start to an iterate, float64 [n]; 0 where there is none."""
    images = context.examples(kind)[:n]
    if iterate is None:
        return torch.zeros(n, dtype=torch.float64, device=images.device)
    return precise_losses(context, iterate.shift, iterate.images) - precise_losses(context, {}, images)


def fading(n_steps: int) -> list[float]:
    """Return step lengths from twice the radius, as Auto-PGD begins, down to near zero in equal decrements."""
    return [2 * (1 - index / n_steps) for index in range(n_steps)]
