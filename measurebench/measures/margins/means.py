"""Mean margins: of the logits, of the probabilities, and of normalised logits."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.outputs import MARGIN_LATEX, logit_margins, probability_margins
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["Kind", "MeanMargin"]

Kind = Literal["logit", "prob", "norm_logit"]
# The smallest norm of centred logits that is divided by (Andriushchenko et al. 2023): equal logits give margin 0.
_FLOOR = 1e-10
_MEAN = r"\frac{1}{n} \sum_x "
_INFOS: dict[Kind, MeasureInfo] = {
    "logit": MeasureInfo(
        id="logit_margin",
        title="Logit margin",
        family="margins",
        unit="logits",
        formula="mean_x z_y - max_{j != y} z_j",
        latex=rf"{_MEAN}\Bigl( {MARGIN_LATEX} \Bigr)",
        source="Definition; Jiang et al. 2019",
        hypothesis="-",
        inputs=("examples",),
        cost="shared",
        explanation="How far the logit of the true class lies above the largest other logit.",
        properties=("logit_scale_equivariant", "logit_shift_invariant"),
    ),
    "prob": MeasureInfo(
        id="prob_margin",
        title="Probability margin",
        family="margins",
        unit="probability",
        formula="mean_x p_y - max_{j != y} p_j",
        latex=rf"{_MEAN}\Bigl( p_y - \max_{{j \neq y}} p_j \Bigr)",
        source="Definition, in [-1, 1]; tanh(logit margin / 2) for two classes",
        hypothesis="-",
        inputs=("examples",),
        cost="shared",
        explanation="How far the probability of the true class lies above the largest other probability.",
        properties=("logit_shift_invariant",),
    ),
    "norm_logit": MeasureInfo(
        id="norm_logit_margin",
        title="Normalised logit margin",
        family="margins",
        unit="1",
        formula="mean_x (z_y - max_{j != y} z_j) / ||z - mean(z)||_2",
        latex=rf"{_MEAN}\frac{{{MARGIN_LATEX}}}{{\lVert z - \bar{{z}} \rVert_2}},"
        r"\quad \bar{z} = \frac{1}{K} \sum_k z_k",
        source="Normalisation of logits as in Andriushchenko et al. 2023",
        hypothesis="-",
        inputs=("examples",),
        cost="shared",
        explanation="The logit margin after the logits are centred and scaled to length 1, so that their scale does not"
        " matter.",
        properties=("logit_scale_invariant", "logit_shift_invariant"),
    ),
}


@register(kind="logit", examples="clean")
@register(kind="logit", examples="pgd")
@register(kind="prob", examples="clean")
@register(kind="prob", examples="pgd")
@register(kind="norm_logit", examples="clean")
@register(kind="norm_logit", examples="pgd")
@dataclass(frozen=True)
class MeanMargin:
    """Mean over examples of one kind of margin."""

    kind: Kind
    examples: Examples = "clean"
    core: ClassVar[tuple[Kind, Examples]] = ("prob", "pgd")

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for this margin and the kind of examples."""
        return _INFOS[self.kind].on(
            self.examples, tier="core" if (self.kind, self.examples) == self.core else "extended"
        )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean margin over examples; undefined for a single class."""
        return MeasureValue.mean(self._margins(context))

    def _margins(self, context: MeasureContext) -> Tensor:
        if self.kind == "prob":
            return probability_margins(context, self.examples)
        margins = logit_margins(context, self.examples)
        if self.kind == "logit":
            return margins
        logits = context.logits(self.examples).double()
        centred = logits - logits.mean(1, keepdim=True)
        normalised: Tensor = margins / centred.norm(dim=1).clamp_min(_FLOOR)
        return normalised
