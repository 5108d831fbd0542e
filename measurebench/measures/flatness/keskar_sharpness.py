"""Keskar's sharpness: the largest relative increase of the loss in a small box around the weights."""

from dataclasses import dataclass

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.flatness.adaptive_sharpness import worst_rise
from measurebench.measures.perturbation.weight_ascent import WeightBall
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["INFO", "KeskarSharpness"]

INFO = MeasureInfo(
    id="keskar_sharpness",
    title="Keskar sharpness",
    family="flatness",
    unit="percent of 1 + loss",
    formula="100 (max_v mean_x l(x; w + v) - l) / (1 + l), l = mean_x l(x; w), |v_j| <= e (|w_j| + 1), e = 1e-3",
    latex=r"100\, \frac{\max_v L(w + v) - L(w)}{1 + L(w)},\quad L(w) = \frac{1}{n} \sum_x \ell(x; w),"
    r"\quad \lvert v_j \rvert \le e\, (\lvert w_j \rvert + 1),\quad e = 10^{-3}",
    source="Keskar et al. 2017, metric 2.1",
    hypothesis="+",
    inputs=("weights", "examples"),
    cost="20(F+B)+F on the first 128 examples",
    properties=("logit_shift_invariant",),
    explanation="Largest relative increase of the loss when every weight may move a little.",
    departures="The box covers all weights, not a random subspace. Projected sign ascent replaces L-BFGS-B.",
)


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class KeskarSharpness:
    """Largest increase of the mean loss in the box, in percent of one plus the loss.

    ``radius`` is the larger of the two that Keskar et al. use, 1e-3 and 5e-4.
    """

    examples: Examples = "clean"
    radius: float = 1e-3
    n_steps: int = 20
    n_examples: int = 128

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        return INFO.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the relative increase in percent, with a delta-method standard error over examples."""
        scales = {name: value.abs() + 1 for name, value in context.parameters.items()}
        ball = WeightBall(scales, "linf", self.radius)
        rise, base = worst_rise(context, self.examples, ball, self.n_steps, self.n_examples)
        level = 1 + float(base.mean())
        share = float(rise.mean()) / level
        # d (rise / (1 + base)) = (d rise - share * d base) / (1 + base)
        influence = MeasureValue.mean(100 * (rise - share * base) / level)
        return MeasureValue(
            100 * share, influence.standard_error, None, {"base_loss": level - 1, "rise": share * level}, len(rise)
        )
