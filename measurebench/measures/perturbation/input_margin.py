"""The input margin of each example: the smallest radius at which an attack was found to turn the prediction."""

import torch
from torch import Tensor

from measurebench.attacks.ascent import Ascent
from measurebench.attacks.audit import is_correct
from measurebench.measures.context import MeasureContext
from measurebench.measures.outputs import margins

__all__ = ["input_margins"]

# As PGD by default. Ten steps of a quarter of the radius can cross the ball once.
_STEPS = 10
_STEP_FRACTION = 0.25


def _turned(context: MeasureContext, index: Tensor, radius: Tensor) -> Tensor:
    """Tell whether an attack within each radius [n] turns the prediction at any of its steps.

    It climbs minus the logit margin, which never saturates as the cross-entropy does.
    """
    images, labels = context.images[index], context.labels[index]
    reach = radius.to(images)
    turned = torch.zeros(len(index), dtype=torch.bool, device=images.device)
    climb = Ascent(context.threat.norm, reach, _STEP_FRACTION * reach, _STEPS)
    for step in climb.iterates(lambda points: -margins(context.network(points), labels), images, images):
        with torch.no_grad():
            turned |= ~is_correct(context.network(step.points), labels)
    return turned


def input_margins(context: MeasureContext, index: Tensor, largest: float, halvings: int) -> Tensor:
    """Return the smallest radius, float64 [len(index)], at which the examples turn, by bisection from ``largest``.

    The search is exact to largest / 2^halvings for the attack it uses, 10 steepest steps on the logit margin, and
    an upper bound for any other. An example that does not turn at ``largest`` has margin infinity.
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
