"""Sharpness-based flatness (Jiang et al. 2020): how far the weights may move in the worst direction."""

import math
from dataclasses import dataclass
from typing import Literal

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.perturbation.noise_level import DisplacementSearch
from measurebench.measures.perturbation.weight_ascent import WeightBall, WorstCase, fading
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["Box", "SharpnessFlatness"]

Box = Literal["absolute", "magnitude"]


def _info(box: Box) -> MeasureInfo:
    """Info of one of the two boxes."""
    magnitude = box == "magnitude"
    return MeasureInfo(
        id="sharpness_mag_flat" if magnitude else "sharpness_flat",
        title=f"{'Magnitude-aware s' if magnitude else 'S'}harpness flatness",
        family="flatness",
        unit="1" if magnitude else "1 / weight^2",
        formula=f"1 / a^2, min_v acc(w + v) = acc(w) - 0.1, |v_j| <= a{' |w_j|' if magnitude else ''}",
        source="Jiang et al. 2020, sharpness-based flatness; Keskar et al. 2017",
        hypothesis="+",
        inputs=("weights", "examples"),
        cost="about 8 x (10(F+B)+F) on the first 128 examples",
        explanation="How small a worst-case move of every weight costs a tenth of the accuracy.",
        properties=("logit_shift_invariant", *(("rescale_invariant",) if magnitude else ())),
        departures="A fall of 0.1 below the network's own accuracy, for robust networks start below 0.9; the lowest"
        " accuracy met in ten ascent steps on the loss.",
    )


@register(box="magnitude", examples="clean")
@register(box="magnitude", examples="pgd")
@register(box="absolute", examples="clean")
@register(box="absolute", examples="pgd")
@dataclass(frozen=True)
class SharpnessFlatness:
    """1 / a^2 for the half-width a of the box in which worst-case accuracy has fallen by ``displacement``.

    Undefined where accuracy starts below the displacement or never falls so far.
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
        """Info for the box and the kind of examples."""
        return _info(self.box).on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return 1 / a^2; its standard error from the binomial error of the fall by the curve's slope."""
        n = min(self.n_examples, context.n)
        labels = context.labels[:n]
        parameters = context.parameters
        scales = {name: value.abs() if self.box == "magnitude" else 1.0 for name, value in parameters.items()}

        def lowest(radius: float, _draw: int) -> float:
            search = WorstCase(WeightBall(scales, "linf", radius), fading(self.n_steps), momentum=0.75)
            iterates = search.iterates(context, self.examples, n)
            return min(int((iterate.logits.argmax(1) == labels).sum()) for iterate in iterates) / n

        start = float((context.logits(self.examples)[:n].argmax(1) == labels).double().mean())
        found = DisplacementSearch(
            lowest, start, self.displacement, self.largest_radius, n_draws=1, tolerance=self.tolerance
        ).find()
        value = found.level**-2
        fall_error = math.sqrt(self.displacement * (1 - self.displacement) / n)
        diagnostics = {"radius": found.level, "n_searches": found.n_evaluations}
        return MeasureValue(value, 2 * value * fall_error / found.log_slope, None, diagnostics, n)
