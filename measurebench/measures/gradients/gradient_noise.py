"""Gradient noise: the variance of the gradient in the weights across examples."""

from dataclasses import dataclass

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.gradients.per_example import per_example_norms
from measurebench.measures.network.lengths import length
from measurebench.measures.perturbation.directional import directional_derivatives
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["GradientNoise"]

_INFO = MeasureInfo(
    id="gradient_noise",
    title="Gradient noise",
    family="gradients",
    unit="(nats/weight)^2",
    formula="sum_x ||g_x - g||_2^2 / (n - 1), g_x = grad_w CE(f(x), y), g = mean_x g_x",
    latex=r"\frac{1}{n - 1} \sum_x \lVert g_x - \bar{g} \rVert_2^2,\quad g_x = \nabla_w \ell(x),"
    r"\quad \bar{g} = \frac{1}{n} \sum_x g_x",
    source="Jiang et al. 2020, variance of gradients; McCandlish et al. 2018, the trace of the gradient's covariance",
    hypothesis="+",
    inputs=("weights", "examples", "gradient"),
    cost="2F+3B",
    explanation="How much the gradients of single examples disagree: the trace of their covariance.",
    properties=("logit_shift_invariant",),
    departures="Over single examples, not minibatches, with all trainable parameters. Batch norm uses its running"
    " statistics.",
)


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class GradientNoise:
    """Trace of the covariance matrix of the examples' own gradients in all trainable parameters."""

    examples: Examples = "clean"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        return _INFO.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the trace, the mean of n / (n - 1) ||g_x - g||^2 over examples.

        Raises UndefinedMeasureError for one example, which has no variance.
        """
        if context.n < 2:
            raise UndefinedMeasureError("the variance of the gradient needs two examples or more")
        squares = per_example_norms(context, self.examples).square()
        mean = context.gradients(self.examples).weights
        along = directional_derivatives(context, self.examples, mean)
        deviations = (squares - 2 * along + length(mean.values()) ** 2).clamp_min(0.0)
        bound = context.n / (context.n - 1)
        return MeasureValue.mean(bound * deviations, mean_gradient_norm=length(mean.values()))
