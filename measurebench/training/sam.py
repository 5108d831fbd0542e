"""Sharpness-aware minimisation: the weights move to where the loss nearby is largest before the gradient is taken."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from measurebench.training.awp import NORM_GUARD

__all__ = ["ASAM", "SAM"]


@dataclass(frozen=True)
class SAM:
    """SAM (Foret et al. 2021, arXiv:2010.01412, eq. 2): all parameters move by rho g / ||g||, in L2 over all of them.

    Tensors may have any shape.
    """

    rho: float

    def offsets(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:  # noqa: ARG002
        """Return the offset of every parameter.

        >>> SAM(0.5).offsets({}, {"w": torch.tensor([3.0, 4.0])})["w"]
        tensor([0.3000, 0.4000])
        """
        scale = self.rho / (_norm(gradients) + NORM_GUARD)
        return {name: scale * gradient for name, gradient in gradients.items()}


@dataclass(frozen=True)
class ASAM:
    """Adaptive SAM (Kwon et al. 2021, arXiv:2102.11600, eq. 6 and 7): rho T^2 g / ||T g|| with T = |w| + eta.

    So rescaling a layer's weights changes nothing in what is searched. As in its authors' code T is 1 for parameters
    whose name does not hold ``weight``, such as biases. Tensors may have any shape.
    """

    rho: float
    eta: float = 0.01

    def offsets(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the offset of every parameter.

        >>> ASAM(0.5, 0.0).offsets({"weight": torch.tensor([2.0])}, {"weight": torch.tensor([7.0])})["weight"]
        tensor([1.])
        """
        sizes = {name: weights[name].abs() + self.eta if "weight" in name else 1.0 for name in gradients}
        scale = self.rho / (_norm({name: sizes[name] * slope for name, slope in gradients.items()}) + NORM_GUARD)
        return {name: scale * sizes[name] * sizes[name] * slope for name, slope in gradients.items()}


def _norm(tensors: Mapping[str, Tensor]) -> Tensor:
    """L2 norm of all tensors together."""
    norms: Tensor = torch.stack([tensor.norm() for tensor in tensors.values()]).norm()
    return norms
