"""Mean confidence, predictive entropy and expected calibration error."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.outputs import entropies, log_probabilities
from measurebench.measures.registry import register
from measurebench.measures.uncertainty import jackknife_error
from measurebench.measures.value import MeasureValue

__all__ = ["CalibrationError", "Kind", "Sureness"]

Kind = Literal["confidence", "entropy"]
_INFOS: dict[Kind, MeasureInfo] = {
    "confidence": MeasureInfo(
        id="mean_confidence",
        title="Mean confidence",
        family="calibration",
        unit="probability",
        formula="mean_x max_k p_k(x)",
        latex=r"\frac{1}{n} \sum_x \max_k p_k(x)",
        source="Definition; Hendrycks and Gimpel 2017",
        hypothesis="",
        inputs=("examples",),
        cost="shared",
        tier="new",
        explanation="The probability that the network gives to the class that it predicts, correct or not.",
        properties=("logit_shift_invariant",),
    ),
    "entropy": MeasureInfo(
        id="entropy",
        title="Predictive entropy",
        family="calibration",
        unit="nats",
        formula="mean_x -sum_k p_k log p_k",
        latex=r"-\frac{1}{n} \sum_x \sum_k p_k(x) \log p_k(x)",
        source="Shannon 1948",
        hypothesis="-",
        inputs=("examples",),
        cost="shared",
        tier="new",
        explanation="The uncertainty of the prediction: 0 if one class has all the probability, log K if all K classes"
        " are equally probable.",
        properties=("logit_shift_invariant",),
    ),
}


@register(kind="confidence", examples="clean")
@register(kind="confidence", examples="pgd")
@register(kind="entropy", examples="clean")
@register(kind="entropy", examples="pgd")
@dataclass(frozen=True)
class Sureness:
    """Mean largest probability, or mean entropy."""

    kind: Kind
    examples: Examples = "clean"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for this kind of value and of examples."""
        return _INFOS[self.kind].on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean over examples."""
        if self.kind == "entropy":
            return MeasureValue.mean(entropies(context, self.examples))
        return MeasureValue.mean(log_probabilities(context, self.examples).exp().amax(1))


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class CalibrationError:
    """Expected calibration error of the predicted class, in ``n_bins`` bins of equal width (15 in Guo et al. 2017)."""

    examples: Examples = "clean"
    n_bins: int = 15

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        return MeasureInfo(
            id="ece",
            title="Expected calibration error",
            family="calibration",
            unit="probability",
            formula=f"sum_b |sum_{{x in b}} (max_k p_k(x) - 1[argmax = y])| / n, {self.n_bins} bins of equal width",
            latex=r"\frac{1}{n} \sum_b \left\lvert \sum_{x \in b} \Bigl( \max_k p_k(x) - \mathbb{1}[\hat{y}(x) = y]"
            r" \Bigr)"
            rf" \right\rvert,\quad {self.n_bins}\ \text{{bins}}\ b\ \text{{of equal width}}",
            source="Naeini et al. 2015; Guo et al. 2017, eq. 3",
            hypothesis="",
            inputs=("examples",),
            cost="shared",
            tier="new",
            explanation="The difference between confidence and accuracy, averaged over groups of examples with similar"
            " confidence.",
            properties=("logit_shift_invariant",),
        ).on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the calibration error, with a standard error by the jackknife over examples."""
        probabilities, predicted = log_probabilities(context, self.examples).exp().max(1)
        excess = probabilities - (predicted == context.labels).double()
        # bins are open on the left: a probability on an edge belongs to the bin below it (Guo et al. 2017)
        bins = ((probabilities * self.n_bins).ceil().long() - 1).clamp(0, self.n_bins - 1)
        # on the CPU: a GPU adds to one bin in an order that changes from run to run
        excess, bins = excess.cpu(), bins.cpu()
        sums = torch.zeros(self.n_bins, dtype=torch.float64).index_add(0, bins, excess)
        total = sums.abs().sum()
        error = jackknife_error(_without_each(sums, total, bins, excess))
        return MeasureValue(float(total) / context.n, error, None, {"n_bins": self.n_bins}, context.n)


def _without_each(sums: Tensor, total: Tensor, bins: Tensor, excess: Tensor) -> Tensor:
    """Return the calibration error with each example left out, [n]: only its own bin's sum changes."""
    own = sums[bins]
    return (total - own.abs() + (own - excess).abs()) / max(1, len(excess) - 1)
