"""The classifier that attacks are given."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn


class PyTorchClassifier:
    def __init__(
        self, model: nn.Module, loss: nn.Module, input_shape: Any, nb_classes: int, clip_values: Any, device_type: str
    ) -> None:
        assert clip_values == (0.0, 1.0)
        assert device_type == "cpu"
        self.model, self.loss, self.input_shape, self.nb_classes = model, loss, input_shape, nb_classes

    def loss_gradient(self, x: npt.NDArray[np.float32], y: npt.NDArray[np.float32]) -> Any:
        points = torch.tensor(x, requires_grad=True)
        loss = self.loss(self.model(points), torch.tensor(y).argmax(1))
        return torch.autograd.grad(loss, points)[0].numpy()
