"""Worst-case flatness of the robust loss (Stutz et al. 2021)."""

from dataclasses import dataclass

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

INFO = MeasureInfo(
    id="worst_flat",
    title="Worst-case flatness",
    family="flatness",
    unit="nats",
    formula="max_{v, x'} mean_x l(x'; w + v) - l(x*; w), ||v_l|| <= xi ||w_l||, x' in the threat model's ball",
    source="Stutz et al. 2021, worst-case robust flatness",
    hypothesis="+",
    inputs=("weights", "examples"),
    cost="n_restarts x (20(F+B)+F) on the first 128 examples",
    explanation="Rise of the adversarial loss when weights and images conspire, every layer within a small share"
    " of its norm.",
    properties=("logit_shift_invariant", "rescale_invariant"),
    departures="One weight perturbation for the first 128 examples (theirs: one per batch of 128); the first of the"
    " restarts begins at the weights themselves and at x*, so that the value cannot be negative; three restarts.",
)


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class WorstFlatness:
    """Largest joint rise of the loss over weights in relative layer balls and, for PGD, over the images.

    ``weight_step`` is the length of one step relative to each layer's norm.
    """

    examples: Examples = "clean"
    xi: float = 7.5e-4
    weight_step: float = 1e-3
    n_steps: int = 20
    n_restarts: int = 3
    n_examples: int = 128

    @property
    def info(self) -> MeasureInfo:
        """Info for the kind of examples."""
        return INFO.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean rise over examples at the best iterate of all restarts."""
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
        """Where a restart begins: the first at the weights and x*, others at random on the spheres and in the ball."""
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
