"""Norm of the Jacobian of the logits in the image (Hoffman et al. 2019)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["JacobianNorm"]

_INFO = MeasureInfo(
    id="jacobian_norm",
    title="Jacobian norm of the logits",
    family="smoothness",
    unit="logits/pixel unit",
    formula="mean_x ||dz/dx||_F",
    latex=r"\frac{1}{n} \sum_x \left\lVert \frac{\partial z}{\partial x} \right\rVert_F",
    source="Hoffman et al. 2019, Jacobian regularizer; Novak et al. 2018, its Frobenius norm",
    hypothesis="+",
    inputs=("examples",),
    cost="F+KB",
    explanation="How fast the logits change with the image to first order, over all directions and classes.",
    properties=("logit_scale_equivariant",),
    departures="Exact, with one backward pass per class (K classes), not with random projections. The norm is not"
    " squared.",
)


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class JacobianNorm:
    """Mean Frobenius norm of the Jacobian of all logits in the image."""

    examples: Examples = "clean"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        return _INFO.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean norm over examples."""
        images = context.examples(self.examples)

        def norms(rows: slice) -> Tensor:
            points = images[rows].detach().requires_grad_(True)
            with torch.enable_grad():
                logits = context.network(points)
            squares = torch.zeros(len(points), dtype=torch.float64, device=points.device)
            for scores in logits.unbind(1) if logits.requires_grad else ():
                (slope,) = torch.autograd.grad(scores.sum(), points, retain_graph=True, materialize_grads=True)
                squares += slope.double().flatten(1).square().sum(1)
            return squares.sqrt()

        return MeasureValue.mean(context.batches.cat(norms, context.n))
