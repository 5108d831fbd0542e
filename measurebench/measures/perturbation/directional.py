"""Derivatives of each example's loss along one direction in weight space, for all examples at once."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from measurebench.compute.batching import out_of_memory
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

    ``direction`` gives v by parameter name; other parameters do not move. With example weights c_i = 1, the number
    v . grad_w sum_i c_i l_i is linear in c, and its gradient in c holds all derivatives, so that two backward passes
    suffice. A network with an operation that has no second derivative is differentiated by a central difference.
    """
    weights = {name: context.parameters[name] for name in direction}
    tangents = {name: vector.to(weights[name]) for name, vector in direction.items()}
    images = context.examples(examples)

    def losses(parameters: Mapping[str, Tensor], rows: slice) -> Tensor:
        logits = context.logits_with(parameters, images[rows])
        return F.cross_entropy(logits.double(), context.labels[rows], reduction="none")

    def exact(rows: slice) -> Tensor:
        leaves = {name: value.detach().requires_grad_(True) for name, value in weights.items()}
        with torch.enable_grad(), sdpa_kernel([SDPBackend.MATH]):
            each = losses(leaves, rows)
            shares = torch.ones_like(each, requires_grad=True)
            gradients = torch.autograd.grad(
                (shares * each).sum(), list(leaves.values()), create_graph=True, materialize_grads=True
            )
            along = [(g * v).sum() for g, v in zip(gradients, tangents.values(), strict=True)]
            total = torch.stack(along).sum()
            (derivatives,) = torch.autograd.grad(total, shares)
        _check_linear(derivatives, total.detach())
        return derivatives

    def difference(rows: slice) -> Tensor:
        step = _STEP * _length(weights) / max(_length(tangents), torch.finfo(torch.float32).tiny)
        ahead = {name: weights[name] + step * tangents[name] for name in weights}
        behind = {name: weights[name] - step * tangents[name] for name in weights}
        with torch.no_grad():
            return (losses(ahead, rows) - losses(behind, rows)) / (2 * step)

    try:
        return context.batches.cat(exact, context.n)
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        return context.batches.cat(difference, context.n)


def _check_linear(derivatives: Tensor, total: Tensor) -> None:
    """Raise RuntimeError if the derivatives do not add up to the total.

    An operation that can be differentiated only once silently omits its part of the second derivative.
    """
    size = torch.maximum(total.abs(), derivatives.abs().sum())
    if bool((derivatives.sum() - total).abs() > _LINEAR * size):
        raise RuntimeError("an operation of the network has no second derivative")


def _length(vectors: Mapping[str, Tensor]) -> float:
    return float(torch.stack([vector.double().square().sum() for vector in vectors.values()]).sum().sqrt())
