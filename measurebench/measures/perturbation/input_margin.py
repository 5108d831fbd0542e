"""The input margin of each example: the smallest radius at which an attack was found to turn the prediction."""

import torch
from torch import Tensor

from measurebench.attacks.geometry import steepest
from measurebench.attacks.pgd import input_gradient
from measurebench.core.threat import Norm
from measurebench.measures.context import MeasureContext
from measurebench.measures.outputs import margins

__all__ = ["input_margins"]

_STEPS = 10
_STEP_FRACTION = 0.25


def _turn(logits: Tensor, labels: Tensor) -> Tensor:
    """The loss of the search: minus the summed logit margin, which never saturates."""
    total: Tensor = -margins(logits, labels).sum()
    return total


def _within(points: Tensor, images: Tensor, radius: Tensor, norm: Norm) -> Tensor:
    """Project to each example's own ball, radius [n, 1, ...], and to the box."""
    difference = points - images
    if norm is Norm.LINF:
        return (images + difference.clamp(-radius, radius)).clamp(0, 1)
    length = difference.flatten(1).norm(dim=1).reshape(radius.shape).clamp_min(1e-12)
    shrink: Tensor = (radius / length).clamp_max(1)
    return (images + difference * shrink).clamp(0, 1)


def _turned(context: MeasureContext, index: Tensor, radius: Tensor) -> Tensor:
    """Tell whether an attack within each radius [n] turns the prediction at any of its steps."""
    images, labels, norm = context.images[index], context.labels[index], context.threat.norm
    radius = radius.to(images).reshape(-1, *[1] * (images.dim() - 1))
    points, turned = images, torch.zeros(len(index), dtype=torch.bool, device=images.device)
    for _ in range(_STEPS):
        gradient = input_gradient(context.network, points, labels, _turn)
        points = _within(points + _STEP_FRACTION * radius * steepest(gradient, norm), images, radius, norm)
        with torch.no_grad():
            turned |= context.network(points).argmax(1) != labels
    return turned


def input_margins(context: MeasureContext, index: Tensor, largest: float, halvings: int) -> Tensor:
    """Return the smallest radius, float64 [len(index)], at which the examples turn, by bisection from ``largest``.

    The search is exact to largest / 2^halvings for the attack it uses, 10 steepest steps on the logit margin, and
    from above for any other. An example that does not turn at ``largest`` has margin infinity.
    """

    def search(rows: slice) -> Tensor:
        chosen = index[rows]
        high = torch.full((len(chosen),), largest, dtype=torch.float64, device=index.device)
        low = torch.zeros_like(high)
        turned = _turned(context, chosen, high)
        for _ in range(halvings):
            middle = (low + high) / 2
            down = _turned(context, chosen, middle)
            low, high = torch.where(down, low, middle), torch.where(down, middle, high)
        return torch.where(turned, high, torch.inf)

    return context.batches.cat(search, len(index))
