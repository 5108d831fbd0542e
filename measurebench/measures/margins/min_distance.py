"""Minimal adversarial distance: the mean and the median of the smallest change that turns a prediction."""

from dataclasses import dataclass
from typing import Literal

from measurebench.core.info import MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.perturbation.minimum_norm import minimum_distances
from measurebench.measures.registry import register
from measurebench.measures.uncertainty import order_statistic
from measurebench.measures.value import MeasureValue

__all__ = ["MinimalDistance", "Statistic"]

Statistic = Literal["mean", "median"]


@register(statistic="mean")
@register(statistic="median")
@dataclass(frozen=True)
class MinimalDistance:
    """Mean or median over images of the distance to the nearest image found that is classified otherwise."""

    statistic: Statistic = "mean"
    n_steps: int = 30
    halvings: int = 12

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the statistic."""
        mean = self.statistic == "mean"
        return MeasureInfo(
            id="min_distance" if mean else "min_distance_median",
            title=f"{'Mean' if mean else 'Median'} minimal adversarial distance",
            family="margins",
            unit="pixel units",
            formula=f"{self.statistic}_x min {{||d|| : f(x + d) != y}}",
            latex=(r"\frac{1}{n} \sum_x r(x)" if mean else r"\operatorname{median}_x r(x)")
            + r",\quad r(x) = \min \{\lVert d \rVert : \hat{y}(x + d) \neq y\}",
            source="Moosavi-Dezfooli et al. 2016 (mean distance); Brendel et al. 2019 (median distance); the attack"
            " follows Pintor et al. 2021 (FMN)",
            hypothesis="-",
            inputs=("clean",),
            cost="30(F+B)+12F",
            explanation="How far an image has to move, in the norm of the threat model, before the prediction changes;"
            " 0 for a misclassified image. What an attack finds is an upper bound.",
            properties=("logit_scale_invariant", "logit_shift_invariant"),
            departures="30 steepest steps on the logit margin, in proportion to a radius that follows the boundary;"
            " then 12 halvings of the segment. FMN takes more steps, along the gradient in every norm. Where nothing is"
            " found, the distance is the longest in the box [0, 1].",
        )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean with its standard error, or the lower median with that of an order statistic."""
        found = minimum_distances(context, self.n_steps, self.halvings).cpu()
        correct = float((found > 0).double().mean())
        if self.statistic == "mean":
            return MeasureValue.mean(found, share_correct=correct)
        middle = order_statistic(found, (len(found) + 1) // 2)
        shown = {"share_correct": correct, "low": middle.low, "high": middle.high}
        return MeasureValue(middle.value, middle.standard_error, None, shown, context.n)
