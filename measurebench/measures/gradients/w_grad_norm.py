"""Norm of the gradient of the mean loss in the weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.gradients.per_example import per_example_norms
from measurebench.measures.network.layers import weight_layers
from measurebench.measures.network.lengths import length
from measurebench.measures.perturbation.directional import directional_derivatives
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["Kind", "WeightGradientNorm"]

Kind = Literal["", "weights", "per_example"]
_TITLES: dict[Kind, str] = {
    "": "Weight gradient norm",
    "weights": "Weight gradient norm, layers only",
    "per_example": "Weight gradient norm per example",
}
_FORMULAS: dict[Kind, str] = {
    "": "||grad_w mean_x CE(f(x), y)||_2, all trainable parameters",
    "weights": "||grad_W mean_x CE(f(x), y)||_2, no biases",
    "per_example": "mean_x ||grad_w CE(f(x), y)||_2",
}
_LATEX: dict[Kind, str] = {
    "": r"\left\lVert \nabla_w \frac{1}{n} \sum_x \ell(x) \right\rVert_2,\quad w\ \text{all trainable parameters}",
    "weights": r"\left\lVert \nabla_W \frac{1}{n} \sum_x \ell(x) \right\rVert_2,\quad W\ \text{the layers' weights}",
    "per_example": r"\frac{1}{n} \sum_x \lVert \nabla_w \ell(x) \rVert_2",
}


@register(kind="", examples="clean")
@register(kind="", examples="pgd")
@register(kind="weights", examples="clean")
@register(kind="weights", examples="pgd")
@register(kind="per_example", examples="clean")
@register(kind="per_example", examples="pgd")
@dataclass(frozen=True)
class WeightGradientNorm:
    """Norm of the gradient of the mean loss over all examples, or the mean over examples of their gradients' norms.

    All parameters count, those that need no gradient too: every network is measured with frozen weights.
    """

    kind: Kind = ""
    examples: Examples = "clean"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for this norm and the kind of examples."""
        each = self.kind == "per_example"
        return MeasureInfo(
            id="w_grad_norm" + (f"_{self.kind}" if self.kind else ""),
            title=_TITLES[self.kind],
            family="gradients",
            unit="nats/weight",
            formula=_FORMULAS[self.kind],
            latex=_LATEX[self.kind],
            source="Definition, with the gradient over all examples and never over minibatches",
            hypothesis="+",
            inputs=("weights", "examples", "gradient") if not each else ("weights", "examples"),
            cost="F+2B" if each else "shared + 2F",
            explanation="How strongly single examples still pull on the weights."
            if each
            else "How far the weights are from a stationary point of the loss on these examples.",
            properties=("logit_shift_invariant",),
            departures="Batch norm uses its running statistics.",
        ).on(self.examples, tier="core" if self.examples == "pgd" and not self.kind else "extended")

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the norm; undefined if the gradient is exactly zero."""
        if self.kind == "per_example":
            return MeasureValue.mean(per_example_norms(context, self.examples))
        gradient = dict(context.gradients(self.examples).weights)
        if self.kind == "weights":
            names = {layer.parameter for layer in weight_layers(context.network)}
            gradient = {name: value for name, value in gradient.items() if name in names}
        return _norm_of_mean(context, self.examples, gradient)


def _norm_of_mean(context: MeasureContext, examples: Examples, gradient: Mapping[str, Tensor]) -> MeasureValue:
    """Return ||g|| for the mean g of the examples' gradients g_i, with a standard error by the delta method.

    With u = g / ||g||, the derivative of ||g|| in g is u, so se = sd(u . g_i) / sqrt(n), and the mean of u . g_i
    is ||g|| itself.
    """
    norm = length(gradient.values())
    if norm == 0:
        raise UndefinedMeasureError("the weight gradient is exactly zero: the softmax is saturated in this precision")
    unit = {name: value / norm for name, value in gradient.items()}
    shares = MeasureValue.mean(directional_derivatives(context, examples, unit))
    return MeasureValue(norm, shares.standard_error, shares.per_example, n=context.n).checked()
