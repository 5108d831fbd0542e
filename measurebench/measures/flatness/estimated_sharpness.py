"""Estimated sharpness: the change of the loss after one step of the weights along the gradient."""

from dataclasses import dataclass, replace
from typing import Literal

import torch

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.network.layers import weight_layers
from measurebench.measures.network.lengths import length
from measurebench.measures.perturbation.weight_noise import Tensors, base_losses, losses
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["INVERSE", "SHARPNESS", "VARIANTS", "EstimatedSharpness", "layerwise_factors"]

VARIANTS = {
    "layerwise": "each weight of a convolution or linear layer moves by rho times its own norm, and no other parameter"
    " moves (Wu et al. 2020, AWP)"
}
_UP_LATEX = r"\frac{1}{n} \sum_x \bigl( \ell(x; w + v) - \ell(x; w) \bigr)"
_DOWN_LATEX = r"\frac{1}{n} \sum_x \bigl( \ell(x; w) - \ell(x; w - v) \bigr)"
_STEP_LATEX = r",\quad v = \rho \lVert w \rVert_2 \frac{g}{\lVert g \rVert_2}"
_LAYER_LATEX = r",\quad v_l = \rho \lVert w_l \rVert_2 \frac{g_l}{\lVert g_l \rVert_2}"
_GRADIENT_LATEX = r",\quad g = \nabla_w \frac{1}{n} \sum_x \ell(x; w)"

SHARPNESS = MeasureInfo(
    id="estimated_sharpness",
    title="Estimated sharpness",
    family="flatness",
    unit="nats",
    formula="mean_x l(x; w + v) - l(x; w), v = rho ||w|| g / ||g||, g = grad_w mean_x l(x; w)",
    latex=_UP_LATEX + _STEP_LATEX + _GRADIENT_LATEX,
    source="Kim et al. 2023; Foret et al. 2021 (SAM), eq. 2; Wu et al. 2020 (AWP), with one global norm",
    hypothesis="+",
    inputs=("weights", "examples", "gradient"),
    cost="shared (F+B) + F",
    explanation="Increase of the loss when the weights take one small step in the direction of steepest ascent.",
    properties=("logit_shift_invariant",),
    variants=VARIANTS,
    departures="The gradient is that of the mean loss over all examples, in evaluation mode. The adversarial examples"
    " remain those of the unperturbed network.",
)

INVERSE = MeasureInfo(
    id="estimated_inv_sharpness",
    title="Estimated inverse sharpness",
    family="flatness",
    unit="nats",
    formula="mean_x l(x; w) - l(x; w - v), v = rho ||w|| g / ||g||, g = grad_w mean_x l(x; w)",
    latex=_DOWN_LATEX + _STEP_LATEX + _GRADIENT_LATEX,
    source="Kim et al. 2023. We could not check the definition against the paper; we take the decrease of the loss for"
    " the opposite step",
    hypothesis="+",
    inputs=("weights", "examples", "gradient"),
    cost="shared (F+B) + F",
    explanation="Decrease of the loss when the weights take one small step in the direction of steepest descent.",
    properties=("logit_shift_invariant",),
    variants=VARIANTS,
    departures=SHARPNESS.departures,
)


@register(direction="down", examples="clean")
@register(direction="down", examples="pgd")
@register(direction="up", examples="clean")
@register(direction="up", examples="pgd")
@dataclass(frozen=True)
class EstimatedSharpness:
    """Change of the mean loss after one step of length rho ||w||, along its gradient (``up``) or against it (``down``).

    ``rho`` is 0.005, the radius of the weight perturbation in the study's own training framework.
    """

    direction: Literal["up", "down"] = "up"
    examples: Examples = "clean"
    rho: float = 5e-3
    variant: str = "definition"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the direction and the kind of examples."""
        info = SHARPNESS if self.direction == "up" else INVERSE
        if self.variant == "layerwise":
            info = replace(
                info,
                properties=(*info.properties, "rescale_invariant"),
                formula=info.formula.replace("v = rho ||w|| g / ||g||", "v_l = rho ||w_l|| g_l / ||g_l||"),
                latex=info.latex.replace(_STEP_LATEX, _LAYER_LATEX),
            )
        return info.on(self.examples, tier="core" if self.examples == "pgd" else "extended").as_variant(self.variant)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean change of the loss over all examples, in nats; the diagnostics hold both norms.

        Raises UndefinedMeasureError if the gradient is exactly zero.
        """
        gradient = context.gradients(self.examples).weights
        norm = length(gradient.values())
        if norm == 0:
            raise UndefinedMeasureError(
                "the gradient of the loss in the weights is exactly zero, so no step raises the loss"
            )
        parameters = context.parameters
        if self.variant == "layerwise":
            factors = layerwise_factors(context, gradient, self.rho)
        else:
            factors = dict.fromkeys(gradient, self.rho * length(parameters.values()) / norm)
        sign = 1.0 if self.direction == "up" else -1.0
        stepped = {
            name: torch.add(parameters[name], gradient[name], alpha=sign * factor) for name, factor in factors.items()
        }
        moved = losses(context, stepped, context.examples(self.examples))
        change = sign * (moved - base_losses(context, self.examples))
        return MeasureValue.mean(change, gradient_norm=norm, weight_norm=length(parameters.values()))


def layerwise_factors(context: MeasureContext, gradient: Tensors, rho: float) -> dict[str, float]:
    """Return rho ||w_l|| / ||g_l|| for the weight of each convolution or linear layer, by the parameter's name."""
    factors: dict[str, float] = {}
    for layer in weight_layers(context.network):
        if layer.parameter and layer.parameter not in factors:
            weight, slope = context.parameters[layer.parameter], gradient[layer.parameter]
            # 1e-20 as in the public code of AWP: a layer without gradient does not move
            factors[layer.parameter] = rho * length([weight]) / (length([slope]) + 1e-20)
    return factors
