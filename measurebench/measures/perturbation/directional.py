"""Derivatives of each example's loss along one direction in weight space, for all examples at once."""

import warnings
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from measurebench.compute.batching import Batches, forward_batches, out_of_memory
from measurebench.core.info import Examples
from measurebench.measures.context import MeasureContext

__all__ = ["directional_derivatives"]

# The step of the central difference, relative to the norm of the weights: the cube root of the float32 rounding error
# would be 5e-3; a smaller step trades some rounding for less truncation.
_STEP = 1e-3
# Far above the rounding error of float32 and far below the error that a missing second derivative causes.
_LINEAR = 1e-3


def directional_derivatives(context: MeasureContext, examples: Examples, direction: Mapping[str, Tensor]) -> Tensor:
    """Return d/dt CE(f(x; w + t v), y) at t = 0 for every example, float64 [n].

    ``direction`` gives v by parameter name; other parameters do not move. One forward pass carries the derivatives of
    all logits along (forward-mode differentiation). A network with an operation that has no forward derivative is
    differentiated twice backwards, one with an operation that has no second derivative by a central difference.
    """
    along = _Along(context, examples, direction)
    size = context.batches.size
    # A pass that carries derivatives holds two of everything, which a GPU has room for.
    ahead = forward_batches(size, along.images) if along.images.is_cuda else Batches(max(1, size // 2))
    for batches, derivatives in ((ahead, along.carried), (context.batches, along.twice)):
        try:
            return batches.cat(derivatives, context.n)
        except RuntimeError as error:
            if out_of_memory(error):
                raise
    return context.batches.cat(along.difference, context.n)


class _Along:
    """The losses of a batch as functions of the position along a direction in weight space."""

    def __init__(self, context: MeasureContext, examples: Examples, direction: Mapping[str, Tensor]) -> None:
        self.context, self.images = context, context.examples(examples)
        parameters = context.parameters
        self.weights = {name: parameters[name] for name in direction}
        self.tangents = {name: vector.to(self.weights[name]) for name, vector in direction.items()}

    def carried(self, rows: slice) -> Tensor:
        """Return the derivatives [rows] as (p - e_y) . dz/dt, from the logits z and their derivatives."""
        with torch.no_grad(), forward_ad.dual_level(), sdpa_kernel([SDPBackend.MATH]):
            # torch stands in for a missing derivative with a symbolic zero, which not every operation takes
            weights = {
                name: _dual(value, self.tangents[name] if name in self.tangents else torch.zeros_like(value))
                for name, value in self.context.parameters.items()
            }
            output = self.context.logits_with(weights, self.images[rows])
            logits, slopes = forward_ad.unpack_dual(output)  # type: ignore[no-untyped-call]
            if slopes is None:
                return torch.zeros(len(logits), dtype=torch.float64, device=logits.device)
            residual = logits.double().softmax(1)
            residual.scatter_add_(1, self.context.labels[rows, None], -torch.ones_like(residual[:, :1]))
            derivatives: Tensor = (residual * slopes.double()).sum(1)
            return derivatives

    def twice(self, rows: slice) -> Tensor:
        """Return the derivatives [rows] by two backward passes.

        With example weights c_i = 1, the number v . grad_w sum_i c_i l_i is linear in c, and its gradient in c holds
        all derivatives.
        """
        leaves = {name: value.detach().requires_grad_(True) for name, value in self.weights.items()}
        with torch.enable_grad(), sdpa_kernel([SDPBackend.MATH]):
            each = self._losses(leaves, rows)
            shares = torch.ones_like(each, requires_grad=True)
            gradients = torch.autograd.grad(
                (shares * each).sum(), list(leaves.values()), create_graph=True, materialize_grads=True
            )
            along = [(g * v).sum() for g, v in zip(gradients, self.tangents.values(), strict=True)]
            total = torch.stack(along).sum()
            (derivatives,) = torch.autograd.grad(total, shares)
        _check_linear(derivatives, total.detach())
        return derivatives

    def difference(self, rows: slice) -> Tensor:
        """Return the derivatives [rows] by a central difference."""
        step = _STEP * _length(self.weights) / max(_length(self.tangents), torch.finfo(torch.float32).tiny)
        ahead = {name: weight + step * self.tangents[name] for name, weight in self.weights.items()}
        behind = {name: weight - step * self.tangents[name] for name, weight in self.weights.items()}
        with torch.no_grad():
            return (self._losses(ahead, rows) - self._losses(behind, rows)) / (2 * step)

    def _losses(self, parameters: Mapping[str, Tensor], rows: slice) -> Tensor:
        logits = self.context.logits_with(parameters, self.images[rows])
        return F.cross_entropy(logits.double(), self.context.labels[rows], reduction="none")


def _dual(value: Tensor, tangent: Tensor) -> Tensor:
    """Return a tensor that carries its derivative along."""
    with warnings.catch_warnings():
        # the first call compiles some of torch's derivatives, with a function that torch itself calls deprecated
        warnings.simplefilter("ignore", FutureWarning)
        dual: Tensor = forward_ad.make_dual(value, tangent)  # type: ignore[no-untyped-call]
    return dual


def _check_linear(derivatives: Tensor, total: Tensor) -> None:
    """Raise RuntimeError if the derivatives do not add up to the total.

    An operation that can be differentiated only once silently omits its part of the second derivative.
    """
    size = torch.maximum(total.abs(), derivatives.abs().sum())
    if bool((derivatives.sum() - total).abs() > _LINEAR * size):
        raise RuntimeError("an operation of the network has no second derivative")


def _length(vectors: Mapping[str, Tensor]) -> float:
    return float(torch.stack([vector.double().square().sum() for vector in vectors.values()]).sum().sqrt())
