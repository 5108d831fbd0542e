"""Estimated sharpness: the change of the loss after one worst-case step of the weights."""

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.network.layers import weight_layers
from measurebench.measures.perturbation.weight_noise import Tensors, base_losses, length, losses, shifted
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["INVERSE", "SHARPNESS", "VARIANTS", "EstimatedSharpness", "global_step", "layerwise_step"]

VARIANTS = {
    "layerwise": "each weight of two or more axes steps by rho times its own norm, others stay (Wu et al. 2020, AWP)"
}

SHARPNESS = MeasureInfo(
    id="estimated_sharpness",
    title="Estimated sharpness",
    family="flatness",
    unit="nats",
    formula="mean_x l(x; w + v) - l(x; w), v = rho ||w|| g / ||g||, g = grad_w mean_x l(x; w)",
    source="Kim et al. 2023; Foret et al. 2021 (SAM), eq. 2; Wu et al. 2020 (AWP), with one global norm",
    hypothesis="+",
    inputs=("weights", "examples", "gradient"),
    cost="shared (F+B) + F",
    explanation="Rise of the loss when the weights take one small step in the direction that raises it most.",
    properties=("logit_shift_invariant",),
    variants=VARIANTS,
    departures="The gradient is that of the mean loss over all examples, in evaluation mode; adversarial examples"
    " stay those of the unperturbed network.",
)

INVERSE = MeasureInfo(
    id="estimated_inv_sharpness",
    title="Estimated inverse sharpness",
    family="flatness",
    unit="nats",
    formula="mean_x l(x; w) - l(x; w - v), v = rho ||w|| g / ||g||, g = grad_w mean_x l(x; w)",
    source="Kim et al. 2023 (definition from memory: the fall of the loss for the opposite step)",
    hypothesis="+",
    inputs=("weights", "examples", "gradient"),
    cost="shared (F+B) + F",
    explanation="Fall of the loss when the weights take one small step in the direction that lowers it most.",
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
    """Change of the mean loss after one step of length rho ||w|| up (sharpness) or down (inverse) its gradient.

    Undefined where the gradient is zero.
    """

    direction: Literal["up", "down"] = "up"
    examples: Examples = "clean"
    rho: float = 5e-3
    variant: str = "definition"

    @property
    def info(self) -> MeasureInfo:
        """Info for the direction and the kind of examples."""
        info = SHARPNESS if self.direction == "up" else INVERSE
        if self.variant == "layerwise":
            info = replace(info, properties=(*info.properties, "rescale_invariant"))
        return info.on(self.examples, tier="core" if self.examples == "pgd" else "extended").as_variant(self.variant)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean change of the loss over all examples; ``gradient_norm`` as diagnostic."""
        gradient = context.gradients(self.examples).weights
        norm = length(gradient.values())
        if norm == 0:
            raise UndefinedMeasureError("the gradient of the loss at the weights is zero: no step raises the loss")
        parameters = context.parameters
        if self.variant == "layerwise":
            step = layerwise_step(context, gradient, self.rho)
        else:
            step = global_step(parameters, gradient, self.rho)
        sign = 1.0 if self.direction == "up" else -1.0
        moved = losses(context, shifted(parameters, step, sign), context.examples(self.examples))
        change = sign * (moved - base_losses(context, self.examples))
        return MeasureValue.mean(change, gradient_norm=norm, weight_norm=length(parameters.values()))


def global_step(parameters: Tensors, gradient: Tensors, rho: float) -> dict[str, Tensor]:
    """Return rho ||w|| g / ||g||, norms over all trainable parameters, float64."""
    factor = rho * length(parameters.values()) / length(gradient.values())
    return {name: factor * value for name, value in gradient.items()}


def layerwise_step(context: MeasureContext, gradient: Tensors, rho: float) -> dict[str, Tensor]:
    """Return rho ||w_l|| g_l / ||g_l|| for each weight of a convolution or linear layer, float64."""
    steps: dict[str, Tensor] = {}
    for layer in weight_layers(context.network):
        if layer.parameter and layer.parameter not in steps:
            weight, slope = context.parameters[layer.parameter], gradient[layer.parameter]
            steps[layer.parameter] = slope * (rho * length([weight]) / (length([slope]) + 1e-20))
    return steps
