"""Sharpness-based flatness (Jiang et al. 2020): the worst-case weight change that lowers the accuracy by a tenth."""

import math
from dataclasses import dataclass
from typing import Literal

from measurebench.attacks.audit import is_correct
from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.perturbation.noise_level import DisplacementSearch
from measurebench.measures.perturbation.weight_ascent import WeightBall, WorstCase, fading
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["Box", "SharpnessFlatness"]

Box = Literal["absolute", "magnitude"]


def _info(box: Box) -> MeasureInfo:
    """Return the info of one of the two boxes."""
    magnitude = box == "magnitude"
    return MeasureInfo(
        id="sharpness_mag_flat" if magnitude else "sharpness_flat",
        title=f"{'Magnitude-aware s' if magnitude else 'S'}harpness flatness",
        family="flatness",
        unit="1" if magnitude else "1 / weight^2",
        formula=f"1 / a^2, min_v acc(w + v) = acc(w) - 0.1, |v_j| <= a{' |w_j|' if magnitude else ''}",
        latex=r"\frac{1}{a^2},\quad \min_v \operatorname{acc}(w + v) = \operatorname{acc}(w) - 0.1,"
        rf"\quad \lvert v_j \rvert \le a{' ' + chr(92) + 'lvert w_j ' + chr(92) + 'rvert' if magnitude else ''}",
        source="Jiang et al. 2020, sharpness-based flatness; Keskar et al. 2017",
        hypothesis="+",
        inputs=("weights", "examples"),
        cost="about 8 x (10(F+B)+F) on the first 128 examples",
        explanation="Large when a small worst-case change of the weights lowers the accuracy by a tenth.",
        properties=("logit_shift_invariant", *(("rescale_invariant",) if magnitude else ())),
        departures="The accuracy falls by 0.1 from the network's own accuracy, not to 0.9, since the accuracy of a"
        " robust network is below 0.9. The worst case is the lowest accuracy within ten ascent steps on the loss.",
    )


@register(box="magnitude", examples="clean")
@register(box="magnitude", examples="pgd")
@register(box="absolute", examples="clean")
@register(box="absolute", examples="pgd")
@dataclass(frozen=True)
class SharpnessFlatness:
    """1 / a^2 for the half-width a of the box in which the worst-case accuracy has fallen by ``displacement``.

    Undefined if the accuracy starts below the displacement or never falls that far. ``tolerance`` is the relative width
    at which the search for a stops; among 128 examples, one of them changes the accuracy by 0.008.
    """

    box: Box = "absolute"
    examples: Examples = "clean"
    displacement: float = 0.1
    largest_radius: float = 2.0
    n_steps: int = 10
    tolerance: float = 0.02
    n_examples: int = 128

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the box and the kind of examples."""
        return _info(self.box).on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return 1 / a^2, with a standard error from the binomial error of the fall and the slope of the curve."""
        n = min(self.n_examples, context.n)
        labels = context.labels[:n]
        parameters = context.parameters
        scales = {name: value.abs() if self.box == "magnitude" else 1.0 for name, value in parameters.items()}

        def lowest(radius: float, _draw: int) -> float:
            search = WorstCase(WeightBall(scales, "linf", radius), fading(self.n_steps), momentum=0.75)
            iterates = search.iterates(context, self.examples, n)
            return min(int(is_correct(iterate.logits, labels).sum()) for iterate in iterates) / n

        start = float(is_correct(context.logits(self.examples)[:n], labels).double().mean())
        found = DisplacementSearch(
            lowest, start, self.displacement, self.largest_radius, n_draws=1, tolerance=self.tolerance
        ).find()
        value = found.level**-2
        fall_error = math.sqrt(self.displacement * (1 - self.displacement) / n)
        diagnostics = {"radius": found.level, "n_searches": found.n_evaluations}
        return MeasureValue(value, 2 * value * fall_error / found.log_slope, None, diagnostics, n)
