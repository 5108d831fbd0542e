"""Stochastic gradient descent with momentum: torch's own step, without what its optimizer class loads.

``torch.optim.SGD`` imports torch's compiler when it is made: seconds and 300 MB per process, for nothing used here.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

__all__ = ["SGD"]


class SGD:
    """Momentum and weight decay as in ``torch.optim.SGD``; the rate is set before every epoch."""

    def __init__(self, parameters: Iterable[nn.Parameter], rate: float, momentum: float, weight_decay: float) -> None:
        self.parameters = list(parameters)
        self.rate, self.momentum, self.weight_decay = rate, momentum, weight_decay
        self.buffers: list[Tensor | None] = [None] * len(self.parameters)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        moving = [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]
        buffers = [self.buffers[i] for i in moving]
        sgd(
            [self.parameters[i] for i in moving],
            [_gradient(self.parameters[i]) for i in moving],
            buffers,
            lr=self.rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        for i, buffer in zip(moving, buffers, strict=True):
            self.buffers[i] = buffer

    def state_dict(self) -> dict[str, Any]:
        """Return the momentum buffers."""
        return {"buffers": self.buffers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the momentum of a saved state."""
        self.buffers = list(state["buffers"])


def _gradient(parameter: nn.Parameter) -> Tensor:
    """Return a gradient that is known to be there."""
    if parameter.grad is None:
        raise RuntimeError("a parameter without a gradient cannot move")
    return parameter.grad
