"""Adversarial weight perturbation (Wu et al. 2020, arXiv:2004.05884), per layer and global.

Weights are moved once towards a larger training loss, the training gradient is taken there, and the weights
return before the step. The authors' code takes the step first and then removes the perturbation; the only
difference is that their weight decay also acts on the perturbation.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

__all__ = ["NORM_GUARD", "GlobalAWP", "LayerwiseAWP", "WeightPerturbation", "kept_buffers", "perturbed"]

NORM_GUARD = 1e-20  # guards the division where a gradient is zero, and is lost in rounding otherwise


class WeightPerturbation(Protocol):
    """A rule that turns the gradient of the training loss into an offset of the weights.

    Weights, gradients and offsets are tensors of any shape by the name of their parameter.
    """

    def offsets(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the offset of every weight that moves, by name."""


@dataclass(frozen=True)
class LayerwiseAWP:
    """The authors' rule: every weight of more than one dimension moves by gamma ||w_l|| g_l / ||g_l|| (their eq. 10).

    Biases and batch-norm parameters stay. Tensors may have any shape.
    """

    gamma: float

    def offsets(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the offset of every weight with more than one dimension."""
        return {
            name: self.gamma * weights[name].norm() * gradient / (gradient.norm() + NORM_GUARD)
            for name, gradient in gradients.items()
            if weights[name].dim() > 1
        }


@dataclass(frozen=True)
class GlobalAWP:
    """The study's rule: all parameters together move by rho ||w|| g / ||g||, with norms over all of them.

    Tensors may have any shape.
    """

    rho: float

    def offsets(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the offset of every parameter."""
        scale = self.rho * _norm(weights) / (_norm(gradients) + NORM_GUARD)
        return {name: scale * gradient for name, gradient in gradients.items()}


def _norm(tensors: Mapping[str, Tensor]) -> Tensor:
    """L2 norm of all tensors together."""
    norms: Tensor = torch.stack([tensor.norm() for tensor in tensors.values()]).norm()
    return norms


@contextmanager
def perturbed(network: nn.Module, rule: WeightPerturbation, gradients: Mapping[str, Tensor]) -> Iterator[None]:
    """Move the weights by the rule's offsets inside the block; afterwards they are exactly what they were.

    ``gradients`` are tensors of any shape by the name of their parameter.
    """
    weights = {name: p.detach() for name, p in network.named_parameters() if name in gradients}
    offsets = rule.offsets(weights, gradients)
    originals = {name: weights[name].clone() for name in offsets}
    for name, offset in offsets.items():
        weights[name].add_(offset)
    try:
        yield
    finally:
        for name, original in originals.items():
            weights[name].copy_(original)


@contextmanager
def kept_buffers(network: nn.Module) -> Iterator[None]:
    """Keep batch-norm statistics as they are: the pass that finds the perturbation must not count for them."""
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        yield
    finally:
        for name, buffer in network.named_buffers():
            buffer.copy_(before[name])
