"""A measure: the gap between the two largest logits."""

from dataclasses import dataclass
from typing import ClassVar

from measurebench.core.info import MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["TopTwoGap"]


@register()
@dataclass(frozen=True)
class TopTwoGap:
    """Mean over images of the difference between the largest and the second largest logit."""

    info: ClassVar[MeasureInfo] = MeasureInfo(
        id="top_two_gap",
        title="Gap between the two largest logits",
        family="margins",
        unit="logits",
        formula="mean_x max_k z_k(x) - max2_k z_k(x)",
        source="An example; the margin of the predicted class, whatever the label",
        hypothesis="-",
        inputs=("clean",),
        cost="shared",
        explanation="How far the predicted class is ahead of the next one.",
        properties=("logit_scale_equivariant", "logit_shift_invariant"),
    )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean gap with its standard error."""
        largest = context.clean_logits.topk(2, dim=1).values
        return MeasureValue.mean(largest[:, 0] - largest[:, 1])
