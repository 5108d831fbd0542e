"""A fast minimum-norm attack after FMN (Pintor et al. 2021): the smallest change found that turns a prediction."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from measurebench.attacks.ascent import gradient_at
from measurebench.attacks.geometry import per_example, project, steepest
from measurebench.core.threat import Norm
from measurebench.measures.context import MeasureContext
from measurebench.measures.outputs import margins

__all__ = ["MinimumNorm", "minimum_distances"]

# The first and last change of the radius per step, as a share of it. FMN anneals from 0.05 over hundreds of steps; with
# a few dozen the radius has to move faster.
_FIRST_CHANGE, _LAST_CHANGE = 0.3, 0.005
# The first and last length of a step, as a share of the radius: the first one reaches the boundary of a linear network.
_FIRST_STEP, _LAST_STEP = 1.0, 0.02


def _annealed(first: float, last: float, share: float) -> float:
    """Return the value of a cosine schedule at a share of the way."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class MinimumNorm:
    """Steps down the logit margin inside a ball whose radius follows the boundary, then a bisection of the segment.

    The radius shrinks while the prediction is turned and grows while it is not; before the first success it is the
    distance at which the linearised margin vanishes. Steps are steepest ones in proportion to the radius. With a
    ``basis`` [d, k] of orthonormal columns the change stays in their span, in L2 and without the box [0, 1].
    """

    norm: Norm
    n_steps: int = 30
    halvings: int = 12
    basis: Tensor | None = None

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return the distance found for each image, float64 [n], for images [n, ...] and labels [n].

        It is 0 for an image that is not classified as its label, and infinite where no change was found.
        """
        change, best = torch.zeros_like(images), torch.zeros_like(images)
        distance = torch.full((len(images),), torch.inf, dtype=torch.float64, device=images.device)
        radius = torch.zeros_like(distance)
        for step in range(self.n_steps):
            share = step / max(1, self.n_steps - 1)
            margin, slope = self._margin(network, images + change, labels)
            turned, size = margin < 0, self._length(change, self.norm)
            better = turned & (size < distance)
            best = torch.where(per_example(better, images).bool(), change, best)
            factor, found = _annealed(_FIRST_CHANGE, _LAST_CHANGE, share), distance.isfinite()
            linear = size + margin.clamp_min(0) / self._length(slope, _dual(self.norm))
            distance = torch.where(better, size, distance)
            grown = torch.where(found, radius, linear) * (1 + factor)
            radius = torch.where(turned, torch.minimum(radius, distance) * (1 - factor), grown)
            radius = radius.nan_to_num(0.0, self._largest(images)).clamp_max(self._largest(images))
            move = per_example(_annealed(_FIRST_STEP, _LAST_STEP, share) * radius, images)
            change = self._inside(images, change - move * steepest(slope, self.norm), radius)
        return self._bisected(network, images, labels, best, distance)

    def _margin(self, network: nn.Module, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logit margins, float64 [n], and their gradients [n, ...] within the allowed directions."""
        kept: list[Tensor] = []

        def objective(x: Tensor) -> Tensor:
            kept.append(margins(network(x), labels))
            return kept[0]

        slope = gradient_at(objective, points).nan_to_num(0.0, 0.0, 0.0)
        if self.basis is not None:
            slope = ((slope.flatten(1) @ self.basis) @ self.basis.mT).reshape(slope.shape)
        return kept[0].detach().double(), slope

    def _inside(self, images: Tensor, change: Tensor, radius: Tensor) -> Tensor:
        if self.basis is None:
            return project(images + change, images, self.norm, radius) - images
        shrink = (radius / self._length(change, Norm.L2)).nan_to_num(1.0).clamp_max(1.0)
        inside: Tensor = change * per_example(shrink, images)
        return inside

    def _bisected(self, network: nn.Module, images: Tensor, labels: Tensor, best: Tensor, distance: Tensor) -> Tensor:
        """Return the distance at which the segment from an image to its changed form crosses the boundary."""
        low, high = torch.zeros_like(distance), torch.ones_like(distance)
        for _ in range(self.halvings):
            middle = (low + high) / 2
            with torch.no_grad():
                turned = margins(network(images + per_example(middle, images) * best), labels) < 0
            low, high = torch.where(turned, low, middle), torch.where(turned, middle, high)
        return torch.where(distance.isfinite(), distance * high, distance)

    @staticmethod
    def _length(change: Tensor, norm: Norm | None) -> Tensor:
        """Return the norm of each change [n, ...], float64 [n]; L1 where there is no norm."""
        flat = change.flatten(1).double()
        if norm is None:
            return flat.abs().sum(1)
        return flat.abs().amax(1) if norm is Norm.LINF else flat.norm(dim=1)

    def _largest(self, images: Tensor) -> float:
        """Return the length of the longest change in the box, which nothing that is found can exceed there."""
        return 1.0 if self.norm is Norm.LINF else math.sqrt(images[0].numel())


def _dual(norm: Norm) -> Norm | None:
    """Return the norm of gradients that belongs to a norm of changes: L1 (None) for Linf, L2 for L2."""
    return None if norm is Norm.LINF else Norm.L2


def minimum_distances(context: MeasureContext, n_steps: int, halvings: int) -> Tensor:
    """Return the smallest distance found for each example in the threat model's norm, float64 [n].

    It is 0 for a misclassified image. Where nothing was found it is the longest distance in the box [0, 1].
    """
    attack = MinimumNorm(context.threat.norm, n_steps, halvings)

    def search() -> Tensor:
        found = context.batches.cat(
            lambda rows: attack(context.network, context.images[rows], context.labels[rows]), context.n
        )
        longest = 1.0 if context.threat.norm is Norm.LINF else math.sqrt(context.images[0].numel())
        return found.clamp_max(longest)

    return context.shared(f"minimum distances {n_steps} {halvings}", search)
