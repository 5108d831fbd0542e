"""Local learning coefficient (Lau et al. 2023), estimated by Langevin dynamics around the weights."""

import math
from dataclasses import dataclass

import torch

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.perturbation.langevin import Langevin, loss_and_gradient
from measurebench.measures.perturbation.weight_noise import WeightNoise
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["LearningCoefficient"]

_INFO = MeasureInfo(
    id="learning_coefficient",
    title="Local learning coefficient",
    family="flatness",
    unit="1",
    formula="n beta (E_w L(w) - L(w*)), w ~ exp(-n beta L(w) - gamma/2 ||w - w*||^2), beta = 1 / log n",
    latex=r"n \beta\, \bigl(\mathbb{E}_w L(w) - L(w^*)\bigr),"
    r"\quad w \sim \exp\bigl(-n \beta L(w) - \tfrac{\gamma}{2} \lVert w - w^* \rVert_2^2\bigr),"
    r"\quad \beta = \frac{1}{\log n}",
    source="Lau et al. 2023, estimator of the local learning coefficient by SGLD",
    hypothesis="+",
    inputs=("weights", "examples"),
    cost="400(F+B)",
    explanation="The effective number of parameters that the loss L depends on near the weights; half their number for"
    " a regular model. Negative where the chain finds smaller losses, since the weights are no minimum.",
    properties=("logit_shift_invariant",),
    departures="Gradients over all examples instead of minibatches. 4 chains of 100 steps of 1e-5, the first half left"
    " out; gamma is 100. So short a chain does not leave the neighbourhood of the weights: flat directions are not"
    " explored, and the values of networks compare only at equal settings and numbers of examples. The standard error"
    " is that across chains. Batch norm uses its running statistics.",
)


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class LearningCoefficient:
    """Rise of the loss around the weights under a tempered posterior, times n / log n.

    ``n_draws`` chains of ``n_steps`` steps; the first half of each is left out. ``step`` is the variance of the noise.
    """

    examples: Examples = "clean"
    n_draws: int = 4
    n_steps: int = 100
    step: float = 1e-5
    pull: float = 100.0

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        return _INFO.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean over chains.

        Raises UndefinedMeasureError for a single example, whose temperature is not defined.
        """
        if context.n < 2:
            raise UndefinedMeasureError("the inverse temperature 1 / log n needs two examples or more")
        centre, weight = context.parameters, context.n / math.log(context.n)
        noise = WeightNoise(centre, context.settings.seed, "learning coefficient")
        chain = Langevin(self.step, weight, self.pull, self.n_steps)
        start, _ = loss_and_gradient(context, self.examples, centre)
        rises = []
        for draw in range(self.n_draws):
            losses = chain.losses(
                lambda weights: loss_and_gradient(context, self.examples, weights),
                centre,
                lambda index, draw=draw: noise[draw * self.n_steps + index],  # type: ignore[misc]
            )
            rises.append(torch.stack(list(losses))[self.n_steps // 2 :].mean() - start)
        found = weight * torch.stack(rises).cpu()
        error = float(found.std()) / math.sqrt(self.n_draws) if self.n_draws > 1 else None
        return MeasureValue(float(found.mean()), error, None, {"start_loss": float(start)}, context.n).checked()
