"""Fisher-Rao norm (Liang et al. 2019, "Fisher-Rao metric, geometry, and complexity of neural networks")."""

from dataclasses import dataclass

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.network.layers import weight_layers
from measurebench.measures.perturbation.directional import directional_derivatives
from measurebench.measures.registry import register
from measurebench.measures.uncertainty import root_mean
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["INFO", "FisherRao"]

INFO = MeasureInfo(
    id="fisher_rao",
    title="Fisher-Rao norm",
    family="gradients",
    unit="nats",
    formula="sqrt(mean_x (W . grad_W CE(f(x), y))^2)",
    latex=r"\sqrt{\frac{1}{n} \sum_x \bigl(W^{\top} \nabla_W \ell(x)\bigr)^2}",
    source='Liang et al. 2019, "Fisher-Rao metric, geometry, and complexity of neural networks"; with the given labels',
    hypothesis="+",
    inputs=("weights", "examples"),
    cost="2F",
    tier="new",
    explanation="How much the loss of an example changes when all weights are scaled up together (root mean square).",
    properties=("logit_shift_invariant", "rescale_invariant"),
    departures="The derivative along the weights W of convolutions and linear layers is computed for any network. The"
    " public code assumes a homogeneous network of one fixed depth, which networks with biases or batch norm are not.",
)


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class FisherRao:
    """Root mean square over examples of the derivative of the loss along the weights themselves."""

    examples: Examples = "clean"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        return INFO.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the norm, in nats.

        Raises UndefinedMeasureError for a network without weight layers.
        """
        names = {layer.parameter for layer in weight_layers(context.network)} - {""}
        weights = {name: value for name, value in context.parameters.items() if name in names}
        if not weights:
            raise UndefinedMeasureError("the network has no convolution, linear or attention layer")
        derivatives = directional_derivatives(context, self.examples, weights)
        return root_mean(derivatives.square(), n_layers=len(names))
