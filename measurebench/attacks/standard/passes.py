"""Passes through a network: logits and input gradients, in batches that fit, with what is not finite counted."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from measurebench.compute.batching import Batches

__all__ = ["LEAST_BATCH", "Objective", "Passes"]

# A batch of three or fewer may be computed by other kernels, with logits that differ by 1e-6.
LEAST_BATCH = 4
# From logits [n, K] to a loss [n] and its derivative by the logits [n, K], for the rows of a slice.
Objective = Callable[[Tensor, slice], tuple[Tensor, Tensor]]


@dataclass
class Passes:
    """A network as the attacks see it: ``at_once`` images together, fewer where the memory runs out.

    ``odd`` int64 [n] counts the entries of the last gradients that were not finite; None where it is known that all
    were.
    """

    network: Callable[[Tensor], Tensor] | nn.Module
    at_once: int
    odd: Tensor | None = None
    _batches: Batches = field(init=False)

    def __post_init__(self) -> None:
        self._batches = Batches(max(self.at_once, LEAST_BATCH))

    def logits(self, points: Tensor) -> Tensor:
        """Return the logits [n, K] at ``points`` [n, ...], without gradients."""
        with torch.no_grad():
            return self._batches.cat(lambda rows: self._call(points[rows]), len(points))

    def gradients_of(self, points: Tensor, objective: Objective) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits [n, K], loss [n] and the loss's gradient at each point [n, ...], 0 where it is not finite."""
        parts = list(self._batches.each(lambda rows: self._part(points[rows], objective, rows), len(points)))
        logits, loss, gradient = (torch.cat(part) if len(parts) > 1 else part[0] for part in zip(*parts, strict=True))
        return logits, loss, self._finite(gradient)

    def _part(self, points: Tensor, objective: Objective, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        with torch.enable_grad():
            points = points.detach().requires_grad_()
            logits = self._call(points)
        with torch.no_grad():
            loss, slope = objective(logits.detach(), rows)
        if not logits.requires_grad:
            return logits, loss, torch.zeros_like(points)
        (gradient,) = torch.autograd.grad(logits, points, slope, allow_unused=True)
        return logits.detach(), loss, torch.zeros_like(points) if gradient is None else gradient

    def _call(self, points: Tensor) -> Tensor:
        n = len(points)
        if n < LEAST_BATCH:
            points = torch.cat([points, points[-1:].expand(LEAST_BATCH - n, *points.shape[1:])])
        return self.network(points)[:n]

    def _finite(self, gradient: Tensor) -> Tensor:
        self.odd = None
        if gradient.device.type == "cpu" and bool(torch.isfinite(gradient.sum())):
            return gradient
        odd = (gradient - gradient) != 0  # NaN differs from 0, as the difference of infinities does
        self.odd = odd.flatten(1).sum(1)
        return gradient.masked_fill(odd, 0.0)
