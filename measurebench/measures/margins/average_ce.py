"""Average cross-entropy: the mean loss over examples."""

from dataclasses import dataclass

import torch.nn.functional as F

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["INFO", "AverageCrossEntropy"]

INFO = MeasureInfo(
    id="average_ce",
    title="Average cross-entropy",
    family="margins",
    unit="nats",
    formula="mean_x -log p_y(x)",
    latex=r"-\frac{1}{n} \sum_x \log p_y(x)",
    source="Kim et al. 2023; cross-entropy of the softmax",
    hypothesis="+",
    inputs=("examples",),
    cost="shared",
    explanation="Mean loss of the network: small when its predictions are correct and confident.",
    properties=("logit_shift_invariant",),
)


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class AverageCrossEntropy:
    """Mean cross-entropy of the predicted distribution, natural logarithm."""

    examples: Examples = "clean"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        return INFO.on(self.examples, tier="core" if self.examples == "pgd" else "extended")

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean over examples of the cross-entropy, computed as log-sum-exp minus the true logit."""
        logits = context.logits(self.examples).double()
        return MeasureValue.mean(F.cross_entropy(logits, context.labels, reduction="none"))
