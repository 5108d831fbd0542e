"""Boundary thickness (Yang et al. 2020, "Boundary thickness and robustness in learning models")."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from measurebench.attacks import noise
from measurebench.attacks.pgd import PGD
from measurebench.compute.batching import Batches, forward_batches
from measurebench.core.info import MeasureInfo
from measurebench.core.threat import ThreatModel
from measurebench.measures.context import MeasureContext
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["BoundaryThickness"]

_DRAFT_STEPS = 50
# Pixel values of the points in one pass on a CPU: 32 points of 3 x 32 x 32, which a ResNet-18 passed in 12.2 ms each,
# in a third of the memory of 100 points, which took 14.6 ms each. Points of small images are limited by their number.
_CPU_VALUES = 3 << 15


@register()
@dataclass(frozen=True)
class BoundaryThickness:
    """Length of the part near the boundary of the segment from an image to an attack towards a random class.

    The segment is sampled at ``n_points`` equally spaced points, both ends included. The thickness is the share of
    points at which the difference g = p_i - p_t of the two probabilities lies between ``alpha`` and ``beta``, times
    the length of the segment. The error of this estimate is at most 2 * length / n_points. ``alpha``, ``beta`` and
    ``n_points`` are those of Yang et al. 2020, as are radius and steps of the attack, in pixel units.
    """

    alpha: float = 0.0
    beta: float = 0.75
    n_points: int = 128
    radius: float = 1.0
    steps: int = 20
    step_fraction: float = 0.2
    variant: str = "definition"
    base: ClassVar[MeasureInfo] = MeasureInfo(
        id="boundary_thickness",
        title="Boundary thickness",
        family="margins",
        unit="pixel units (L2)",
        formula="mean_x ||x - x_r||_2 * share of s in [0, 1] with alpha < p_i(x(s)) - p_t(x(s)) < beta,"
        " x(s) = (1-s) x + s x_r",
        latex=r"\frac{1}{n} \sum_x \lVert x - x_r \rVert_2 \int_0^1 \mathbb{1}[\alpha < g(s) < \beta]\, ds,"
        r"\quad g(s) = p_i(x_s) - p_t(x_s),\quad x_s = (1 - s)\, x + s\, x_r",
        source='Yang et al. 2020, "Boundary thickness and robustness in learning models", definition of thickness;'
        " alpha 0, beta 0.75, 128 points",
        hypothesis="-",
        inputs=("clean",),
        cost="20(F+B)+128F",
        tier="core",
        explanation="Width of the band between a confident and an undecided prediction, measured on the segment from"
        " an image to its attack towards a random other class.",
        properties=("logit_shift_invariant",),
        variants={
            "draft": "the settings in the draft of the study's code: an L2 attack with the radius of the threat model,"
            " whatever its norm, in 50 steps of a fifth of it, from the image; the draft attacks away from the random"
            " class, this variant towards it"
        },
        departures="In pixel units: the attack has L2 radius 1 and 20 steps of 0.2, is clipped to [0, 1] and has no"
        " random start. i is the predicted class and t a random class other than the label, drawn for each example. An"
        " example with i = t contributes 0.",
    )

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure."""
        return self.base.as_variant(self.variant)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean thickness in pixel units (L2).

        The diagnostics report the shares of segments that cross ``alpha``, of attacks that succeed, and of images that
        start below ``beta``. Raises UndefinedMeasureError for a single class.
        """
        if context.n_classes < 2:
            raise UndefinedMeasureError("boundary thickness needs two classes or more")
        predicted, targets = context.clean_logits.argmax(1), self._targets(context)
        draft = self.variant == "draft"
        attack = PGD(_DRAFT_STEPS if draft else self.steps, self.step_fraction, start=False)
        radius = context.threat.radius if draft else self.radius
        ends = context.attack(attack, threat=ThreatModel.parse("L2", radius), targets=targets)
        differences = self._along(context, ends, predicted, targets)
        inside = (differences > self.alpha) & (differences < self.beta)
        lengths = (ends - context.images).double().flatten(1).norm(dim=1).cpu()
        other = (predicted != targets).cpu()
        thickness = inside.double().mean(1) * lengths * other
        return MeasureValue.mean(
            thickness,
            crossing=float(((differences.amin(1) <= self.alpha) & (differences.amax(1) >= self.alpha)).double().mean()),
            attack_success=float((differences[:, -1] < self.alpha).double().mean()),
            undecided_start=float((differences[:, 0] < self.beta).double().mean()),
            same_class=float((~other).double().mean()),
            mean_length=float(lengths.mean()),
        )

    def _targets(self, context: MeasureContext) -> Tensor:
        """Draw a class other than the label for each example, uniformly."""
        drawn = noise.integers(context.keys, context.n_classes - 1, context.settings.seed, "thickness target")
        return drawn + (drawn >= context.labels)

    def _along(self, context: MeasureContext, ends: Tensor, predicted: Tensor, targets: Tensor) -> Tensor:
        """Return p_i - p_t at every point of every segment, float64 [n, points] on the CPU."""
        images = context.images
        shares = torch.linspace(0, 1, self.n_points, dtype=torch.float64).to(images)
        pairs = torch.stack([predicted, targets], 1)

        def run(flat: slice) -> Tensor:
            index = torch.arange(flat.start, flat.stop, device=images.device)
            example = torch.div(index, self.n_points, rounding_mode="floor")
            share = shares[index % self.n_points].reshape(-1, *[1] * (images.dim() - 1))
            # Indexing by brackets does the same; of a batch on a small network it takes 0.1 of 1.4 ms more.
            points = images.index_select(0, example).lerp_(ends.index_select(0, example), share)
            probabilities = context.network(points).double().softmax(1)
            return torch.sub(*probabilities.gather(1, pairs.index_select(0, example)).unbind(1))

        batches = _batches(context.batches.size, images)
        with torch.no_grad():
            return batches.cat(run, context.n * self.n_points).reshape(context.n, self.n_points).cpu()


def _batches(size: int, images: Tensor) -> Batches:
    """Return batches of points for passes without gradients, of images [n, ...] and at a batch size."""
    larger = forward_batches(size, images)
    if images.is_cuda:
        return larger
    return Batches(max(1, min(larger.size, _CPU_VALUES // max(1, images[0].numel()))))
