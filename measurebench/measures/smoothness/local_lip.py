"""Local Lipschitz constant of the logits, found by ascent or read at adversarial examples."""

from dataclasses import dataclass

import torch
from torch import Tensor

from measurebench.core.info import Examples, MeasureInfo
from measurebench.core.threat import Norm
from measurebench.measures.context import MeasureContext
from measurebench.measures.perturbation.image_ascent import Ascent, Start
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["LocalLipschitz", "length", "ratio"]

_GUARD = 1e-6  # what public code adds to every pixel of the difference


def length(difference: Tensor, norm: Norm) -> Tensor:
    """Return the norm of each difference, [n], with gradients."""
    flat = difference.flatten(1)
    return flat.abs().amax(1) if norm is Norm.LINF else flat.norm(dim=1)


def ratio(context: MeasureContext, rows: slice, points: Tensor, guard: float = 0.0) -> Tensor:
    """Return ||f(x) - f(x')||_1 / ||x - x'|| for x' = points, [rows], in the threat model's norm."""
    change = (context.clean_logits[rows] - context.network(points)).abs().sum(1)
    distance = length(context.images[rows] - points + guard, context.threat.norm)
    ratios: Tensor = change / distance.clamp_min(torch.finfo(points.dtype).tiny)
    return ratios


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class LocalLipschitz:
    """Largest L1 change of the logits over the size of the input's change, near each image.

    The plain id searches by ascent on the ratio itself; with ``_pgd`` the ratio at the PGD examples is taken.
    """

    examples: Examples = "clean"
    steps: int = 10
    step_fraction: float = 1 / 3
    variant: str = "definition"

    @property
    def info(self) -> MeasureInfo:
        """Info of the search, or of the ratio at PGD examples."""
        at_pgd = self.examples == "pgd"
        info = MeasureInfo(
            id="local_lip",
            title="Local Lipschitz constant",
            family="smoothness",
            unit="logits/pixel unit",
            formula="mean_x ||f(x) - f(x*)||_1 / ||x - x*||"
            if at_pgd
            else "mean_x max_{||x'-x|| <= eps} ||f(x) - f(x')||_1 / ||x - x'||",
            source='Yang et al. 2020, "A closer look at accuracy vs. robustness", empirical local Lipschitz constant;'
            " the norm of the input is the threat model's",
            hypothesis="+",
            inputs=("clean", "examples") if at_pgd else ("examples",),
            cost="shared" if at_pgd else "10(F+B)+F",
            explanation="How fast the logits can change around an image.",
            properties=("logit_scale_equivariant",),
            variants={}
            if at_pgd
            else {
                "reference": "public code steps against the gradient, so that it minimises the ratio, from a Gaussian"
                " start of deviation 0.001, with 1e-6 added to every pixel of the difference"
            },
            departures=""
            if at_pgd
            else "Ascends, from a uniform start in the ball; the last of 10 steps of a third of the radius counts.",
        )
        return info.on(self.examples, tier="extended" if at_pgd else "core").as_variant(self.variant)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean ratio; images whose PGD example is the image itself have none and are left out."""
        guard = _GUARD if self.variant == "reference" else 0.0
        points = context.adversarial if self.examples == "pgd" else self._search(context, guard)
        with torch.no_grad():
            ratios = context.batches.cat(lambda rows: self._ratio(context, points, rows, guard), context.n)
        moved = ratios.isfinite()
        if not bool(moved.any()):
            raise UndefinedMeasureError("no example was moved, so there is no change to compare")
        return MeasureValue.mean(ratios[moved], n_unmoved=int((~moved).sum()))

    def _ratio(self, context: MeasureContext, points: Tensor, rows: slice, guard: float) -> Tensor:
        if self.examples == "clean":
            return ratio(context, rows, points[rows], guard).double()
        change = (context.clean_logits[rows] - context.adversarial_logits[rows]).double().abs().sum(1)
        distance = length((context.images[rows] - points[rows]).double(), context.threat.norm)
        return torch.where(distance > 0, change / distance, torch.nan)

    def _search(self, context: MeasureContext, guard: float) -> Tensor:
        published = self.variant == "reference"
        start: Start = "gaussian" if published else "uniform"
        ascent = Ascent("local_lip", self.steps, self.step_fraction, start, -1.0 if published else 1.0)
        return ascent(context, lambda rows, points: ratio(context, rows, points, guard))
