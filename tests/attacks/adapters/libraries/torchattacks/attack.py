"""The base class, with the call that the real one makes."""

from typing import Any

from torch import Tensor, nn


class Attack:
    def __init__(self, name: str, model: nn.Module) -> None:
        self.attack, self.model = name, model
        self.device = next(model.parameters()).device

    def __call__(self, inputs: Tensor, labels: Tensor) -> Any:
        return self.forward(inputs, labels)

    def forward(self, inputs: Tensor, labels: Tensor) -> Any:
        raise NotImplementedError
