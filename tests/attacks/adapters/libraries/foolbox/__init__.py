"""A stand-in with the interface of foolbox 3.3.4."""

from typing import Any

from torch import Tensor, nn

from . import attacks, distances

__all__ = ["PyTorchModel", "attacks", "distances"]
__version__ = "3.3.4"


class PyTorchModel:
    def __init__(self, model: nn.Module, bounds: Any, device: Any = None) -> None:
        self.model, self.bounds = model, bounds

    def __call__(self, inputs: Tensor) -> Any:
        return self.model(inputs)
