"""Attacks of the stand-in."""

from abc import ABC
from typing import Any

import torch
from torch import Tensor

from .. import distances
from .base import Attack


class LinfBaseGradientDescent(Attack, ABC):
    distance = distances.linf


class LinfProjectedGradientDescentAttack(LinfBaseGradientDescent):
    def __init__(
        self,
        *,
        rel_stepsize: float = 0.01 / 0.3,
        abs_stepsize: float | None = None,
        steps: int = 40,
        random_start: bool = True,
    ) -> None:
        self.rel_stepsize, self.abs_stepsize, self.steps = rel_stepsize, abs_stepsize, steps

    def run(self, model: Any, inputs: Tensor, labels: Tensor, epsilon: float) -> Tensor:
        step = self.rel_stepsize * epsilon if self.abs_stepsize is None else self.abs_stepsize
        points = inputs.clone()
        for _ in range(self.steps):
            points.requires_grad_(True)
            loss = torch.nn.functional.cross_entropy(model(points), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, points)
            moved = points.detach() + step * gradient.sign()
            points = (inputs + (moved - inputs).clamp(-epsilon, epsilon)).clamp(0, 1)
        return points


class L2DeepFoolAttack(Attack):
    distance = distances.l2

    def __init__(self, *, steps: int = 50, loss: str = "logits") -> None:
        self.steps = steps

    def run(self, model: Any, inputs: Tensor, labels: Tensor, epsilon: float) -> Tensor:
        return torch.zeros_like(inputs)


class InversionAttack(Attack):
    def __init__(self, *, distance: Any = None) -> None:
        self.distance = distance

    def run(self, model: Any, inputs: Tensor, labels: Tensor, epsilon: float) -> Tensor:
        return 1 - inputs


LinfPGD = LinfProjectedGradientDescentAttack
