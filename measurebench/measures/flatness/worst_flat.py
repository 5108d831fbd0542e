"""Worst-case flatness of the robust loss (Stutz et al. 2021)."""

from dataclasses import dataclass, replace

from torch import Tensor

from measurebench.attacks.starts import keyed_start
from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.perturbation.weight_ascent import WeightBall, WorstCase, rise_at
from measurebench.measures.perturbation.weight_noise import (
    WeightNoise,
    base_losses,
    cross_entropies,
    layer_tensors,
    length,
    on_spheres,
)
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["INFO", "WorstFlatness"]

_BALL_LATEX = r"\lVert v_l \rVert_2 \le \xi \lVert w_l \rVert_2"

INFO = MeasureInfo(
    id="worst_flat",
    title="Worst-case flatness",
    family="flatness",
    unit="nats",
    formula="max_{v, x'} mean_x l(x'; w + v) - l(x*; w), ||v_l|| <= xi ||w_l||, x' in the threat model's ball",
    latex=r"\max_{v,\, x'} \frac{1}{n} \sum_x \bigl( \ell(x'; w + v) - \ell(x^*; w) \bigr),"
    rf"\quad {_BALL_LATEX},\quad \lVert x' - x \rVert \le \varepsilon",
    source="Stutz et al. 2021, worst-case robust flatness",
    hypothesis="+",
    inputs=("weights", "examples"),
    cost="n_restarts x (20(F+B)+F) on the first 128 examples",
    version=2,  # since the noise is drawn from a counter
    explanation="Largest increase of the adversarial loss when weights and images are changed together, the weights of"
    " every layer by at most a small fraction of their norm.",
    properties=("logit_shift_invariant", "rescale_invariant"),
    departures="One weight perturbation is searched for the first 128 examples (in the source: one for each batch of"
    " 128), with three restarts. The first restart begins at the weights themselves and at x*, so that the value cannot"
    " be negative.",
)
_CLEAN_INFO = replace(
    INFO,
    formula="max_v mean_x l(x; w + v) - l(x; w), ||v_l|| <= xi ||w_l||",
    latex=r"\max_v \frac{1}{n} \sum_x \bigl( \ell(x; w + v) - \ell(x; w) \bigr)," + rf"\quad {_BALL_LATEX}",
    explanation="Largest increase of the clean loss when the weights of every layer change by at most a small fraction"
    " of their norm.",
)


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class WorstFlatness:
    """Largest increase of the loss over weights in relative layer balls and, with PGD, over the images as well.

    ``xi`` is the radius of the balls and ``weight_step`` the length of one step, both relative to each layer's norm.
    They and the number of steps are those of Stutz et al.; three restarts in place of ten cost a third.
    """

    examples: Examples = "clean"
    xi: float = 7.5e-4
    weight_step: float = 1e-3
    n_steps: int = 20
    n_restarts: int = 3
    n_examples: int = 128

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        return (INFO if self.examples == "pgd" else _CLEAN_INFO).on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean increase over examples at the best iterate of all restarts, in nats; never negative."""
        n = min(self.n_examples, context.n)
        layers = layer_tensors(context)
        scales = {name: length([weight]) for name, weight in layers.items()}
        ball = WeightBall(scales, "layer_l2", self.xi)
        search = WorstCase(ball, [self.weight_step / self.xi] * self.n_steps, attack_images=self.examples == "pgd")
        base = base_losses(context, self.examples, n)
        best, highest = None, float(base.mean())
        for restart in range(self.n_restarts):
            start, points = self._start(context, ball, layers, restart, n)
            for iterate in search.iterates(context, self.examples, n, start, points):
                found = float(cross_entropies(iterate.logits, context.labels[:n]).mean())
                best, highest = (iterate, found) if found > highest else (best, highest)
        return MeasureValue.mean(rise_at(context, self.examples, best, n), base_loss=float(base.mean()))

    def _start(
        self, context: MeasureContext, ball: WeightBall, layers: dict[str, Tensor], restart: int, n: int
    ) -> tuple[dict[str, Tensor] | None, Tensor | None]:
        """Return where a restart begins: the first at the weights and x*, others on the spheres and in the ball."""
        if restart == 0:
            return None, None
        seed = context.settings.seed
        noise = WeightNoise(layers, seed, "worst_flat")[restart]
        shift = on_spheres(layers, noise, self.xi)
        u = {name: value / (ball.scales[name] or 1.0) for name, value in shift.items()}
        if self.examples == "clean":
            return u, None
        threat = context.threat
        images, keys = context.images[:n], context.keys[:n]
        return u, keyed_start("uniform", images, keys, threat.norm, threat.radius, seed, "worst_flat", restart)
