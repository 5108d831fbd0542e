"""The base class, with the call that the real ones have: images as found, images clipped to the radius, successes."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from .. import distances


class Attack(ABC):
    distance: Any = None

    def __call__(self, model: Any, inputs: Tensor, criterion: Tensor, *, epsilons: float) -> tuple[Tensor, ...]:
        assert model.bounds == (0, 1)
        found = self.run(model, inputs, criterion, epsilons)
        if self.distance is distances.linf:
            clipped = inputs + (found - inputs).clamp(-epsilons, epsilons)
        else:
            length = (found - inputs).flatten(1).norm(dim=1).clamp_min(epsilons)
            clipped = inputs + (found - inputs) * (epsilons / length).reshape(-1, 1, 1, 1)
        return found, clipped, model(clipped).argmax(1) != criterion

    @abstractmethod
    def run(self, model: Any, inputs: Tensor, labels: Tensor, epsilon: float) -> Tensor: ...
