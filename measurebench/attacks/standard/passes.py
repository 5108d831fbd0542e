"""Passes through a network: logits and input gradients, in batches that fit, with what is not finite counted."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from measurebench.attacks.standard.networks import Tf32, tf32
from measurebench.attacks.standard.rows import column
from measurebench.compute.batching import Batches
from measurebench.compute.graphs import Replayed

__all__ = ["LEAST_BATCH", "Objective", "Passes"]

# A batch of three or fewer may be computed by other kernels, with logits that differ by 1e-6.
LEAST_BATCH = 4
# From logits [n, K] to a loss [n] and its derivative by the logits [n, K], for the rows of a slice.
Objective = Callable[[Tensor, slice], tuple[Tensor, Tensor]]


@dataclass
class Passes:
    """A network as the attacks see it: ``at_once`` images together, fewer where the memory runs out.

    With ``graphs`` a GPU may replay passes, which is right for a network that is the same at every call. ``scaled``
    keeps gradients of 16-bit layers within their range. ``odd`` int64 [n] counts the entries of the last gradients
    that were not finite; None where it is known that all were.
    """

    network: Callable[[Tensor], Tensor] | nn.Module
    at_once: int
    graphs: bool = False
    scaled: bool = False
    odd: Tensor | None = None
    _replayed: Replayed = field(init=False)
    _batches: Batches = field(init=False)

    def __post_init__(self) -> None:
        self._batches = Batches(max(self.at_once, LEAST_BATCH))
        self._replayed = Replayed(self.network, self.graphs)

    def logits(self, points: Tensor) -> Tensor:
        """Return the logits [n, K] at ``points`` [n, ...], without gradients."""
        with self._numerics(points):
            return self._batches.cat(lambda rows: self._call(points[rows]), len(points))

    def gradients_of(self, points: Tensor, objective: Objective) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits [n, K], loss [n] and the loss's gradient at each point [n, ...], 0 where it is not finite."""
        with self._numerics(points):
            parts = list(self._batches.each(lambda rows: self._part(points[rows], objective, rows), len(points)))
        logits, loss, gradient = (torch.cat(part) if len(parts) > 1 else part[0] for part in zip(*parts, strict=True))
        return logits, loss, self._finite(gradient)

    def _numerics(self, points: Tensor) -> AbstractContextManager[None]:
        """Return the numerics of the passes, back and forth."""
        return tf32(points.device, isinstance(self.network, Tf32))

    def _part(self, points: Tensor, objective: Objective, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        logits, back = self._replayed.forward(_enough(points))
        n = len(points)
        with torch.no_grad():
            loss, slope = objective(logits[:n], rows)
            scale = _scale(slope) if self.scaled else None
            gradient = back(_enough(slope if scale is None else slope * scale, 0.0))[:n]
            return logits[:n], loss, gradient if scale is None else gradient / column(scale[:, 0], gradient)

    def _call(self, points: Tensor) -> Tensor:
        return self._replayed.logits(_enough(points))[: len(points)]

    def _finite(self, gradient: Tensor) -> Tensor:
        self.odd = None
        if gradient.device.type == "cpu" and bool(torch.isfinite(gradient.sum())):
            return gradient
        odd = (gradient - gradient) != 0  # NaN differs from 0, as the difference of infinities does
        self.odd = odd.flatten(1).sum(1)
        return gradient.masked_fill(odd, 0.0)


def _enough(rows: Tensor, share: float = 1.0) -> Tensor:
    """Return rows [n, ...] as they are, or filled up with the last one times ``share``."""
    n = len(rows)
    if n >= LEAST_BATCH:
        return rows
    return torch.cat([rows, share * rows[-1:].expand(LEAST_BATCH - n, *rows.shape[1:])])


def _scale(slope: Tensor) -> Tensor:
    """Return a power of two for each row, [n, 1], that brings its largest derivative [n, K] to about 2^8.

    A confident network's derivatives are smaller than the smallest float16, and all gradients would be 0.
    """
    exponent = torch.frexp(slope.abs().amax(1, keepdim=True))[1].clamp(-100, 100)
    return torch.ldexp(torch.ones_like(slope[:, :1]), 8 - exponent)
