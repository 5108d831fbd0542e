"""Local Lipschitz constant of the logits, searched by ascent or evaluated at PGD examples."""

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

_GUARD = 1e-6  # the public code adds this to every pixel of the difference, to avoid dividing by zero


def length(difference: Tensor, norm: Norm) -> Tensor:
    """Return the norm of each difference [n, ...] as [n], differentiable."""
    flat = difference.flatten(1)
    return flat.abs().amax(1) if norm is Norm.LINF else flat.norm(dim=1)


def ratio(context: MeasureContext, rows: slice, points: Tensor, guard: float = 0.0, norm: Norm | None = None) -> Tensor:
    """Return ||f(x) - f(x')||_1 / ||x - x'||, [rows], for x' = ``points`` [rows, ...].

    The norm of the difference is that of the threat model unless another one is given.
    """
    change = (context.clean_logits[rows] - context.network(points)).abs().sum(1)
    distance = length(context.images[rows] - points + guard, norm or context.threat.norm)
    ratios: Tensor = change / distance.clamp_min(torch.finfo(points.dtype).tiny)
    return ratios


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class LocalLipschitz:
    """Largest ratio of the logits' L1 change to the size of the input's change, near each image.

    The plain id searches for the largest ratio by ascent on it; the id with ``_pgd`` evaluates the ratio at the PGD
    examples. The number of steps is that of Yang et al. 2020; a third of the radius is the step in the draft of the
    study's code.
    """

    examples: Examples = "clean"
    steps: int = 10
    step_fraction: float = 1 / 3
    variant: str = "definition"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the search or for the ratio at PGD examples."""
        at_pgd = self.examples == "pgd"
        info = MeasureInfo(
            id="local_lip",
            title="Local Lipschitz constant",
            family="smoothness",
            unit="logits/pixel unit",
            formula="mean_x ||f(x) - f(x*)||_1 / ||x - x*||"
            if at_pgd
            else "mean_x max_{||x'-x|| <= eps} ||f(x) - f(x')||_1 / ||x - x'||",
            latex=r"\frac{1}{n} \sum_x \frac{\lVert f(x) - f(x^*) \rVert_1}{\lVert x - x^* \rVert}"
            if at_pgd
            else r"\frac{1}{n} \sum_x \max_{\lVert x' - x \rVert \le \varepsilon}"
            r" \frac{\lVert f(x) - f(x') \rVert_1}{\lVert x - x' \rVert}",
            source='Yang et al. 2020, "A closer look at accuracy vs. robustness", empirical local Lipschitz constant;'
            " the norm of the input is the threat model's",
            hypothesis="+",
            inputs=("clean", "examples") if at_pgd else ("examples",),
            cost="shared" if at_pgd else "10(F+B)+F",
            explanation="The largest rate at which the logits change near an image.",
            properties=("logit_scale_equivariant",),
            variants={}
            if at_pgd
            else {
                "reference": "the public code steps against the gradient and so minimises the ratio; it starts from"
                " Gaussian noise with standard deviation 0.001 and adds 1e-6 to every pixel of the difference",
                "draft": "the settings in the draft of the study's code: 10 steps of a third of the radius, L1 over"
                " Linf whatever the threat model's norm, with the start and the 1e-6 of the public code; the draft"
                " minimises the ratio, as the public code does, this variant maximises it",
            },
            departures=""
            if at_pgd
            else "The search ascends from a uniform start in the ball, in 10 steps of a third of the radius. The value"
            " is taken at the last iterate.",
        )
        return info.on(self.examples, tier="extended" if at_pgd else "core").as_variant(self.variant)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean ratio; images that the attack did not move have no ratio and are left out.

        Raises UndefinedMeasureError if no image was moved.
        """
        guard = 0.0 if self.variant == "definition" else _GUARD
        points = context.adversarial if self.examples == "pgd" else self._search(context, guard)
        with torch.no_grad():
            ratios = context.batches.cat(lambda rows: self._ratio(context, points, rows, guard), context.n)
        moved = ratios.isfinite()
        if not bool(moved.any()):
            raise UndefinedMeasureError("the attack moved no image, so there is no ratio")
        return MeasureValue.mean(ratios[moved], n_unmoved=int((~moved).sum()))

    def _ratio(self, context: MeasureContext, points: Tensor, rows: slice, guard: float) -> Tensor:
        if self.examples == "clean":
            return ratio(context, rows, points[rows], guard, self._norm(context)).double()
        change = (context.clean_logits[rows] - context.adversarial_logits[rows]).double().abs().sum(1)
        distance = length((context.images[rows] - points[rows]).double(), context.threat.norm)
        return torch.where(distance > 0, change / distance, torch.nan)

    def _search(self, context: MeasureContext, guard: float) -> Tensor:
        start: Start = "uniform" if self.variant == "definition" else "gaussian"
        sign, norm = -1.0 if self.variant == "reference" else 1.0, self._norm(context)
        ascent = Ascent("local_lip", self.steps, self.step_fraction, start, sign, norm)
        return ascent(context, lambda rows, points: ratio(context, rows, points, guard, norm))

    def _norm(self, context: MeasureContext) -> Norm:
        return Norm.LINF if self.variant == "draft" else context.threat.norm
