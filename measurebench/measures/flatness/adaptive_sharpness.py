"""Adaptive sharpness, worst-case and average, in elementwise relative balls."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.flatness.average_flat import standard_error
from measurebench.measures.perturbation.weight_ascent import WeightBall, WorstCase, fading, rise_at
from measurebench.measures.perturbation.weight_noise import WeightNoise, base_losses, cross_entropies, losses, shifted
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["AdaptiveSharpness", "AverageAdaptiveSharpness", "worst_rise"]

_BALL = {"l2": "||v / |w| ||_2 <= rho", "linf": "|v_j| <= rho |w_j|"}
_NOISE = {"l2": "v_j ~ N(0, rho^2 w_j^2)", "linf": "v_j ~ U(-rho |w_j|, rho |w_j|)"}


def _info(case: str, norm: str) -> MeasureInfo:
    """Info of one of the four forms."""
    worst = case == "worst"
    suffix = ("" if worst else "_avg") + ("" if norm == "l2" else "_linf")
    return MeasureInfo(
        id=f"adaptive_sharpness{suffix}",
        title=f"{'Worst-case' if worst else 'Average'} adaptive sharpness, {norm}",
        family="flatness",
        unit="nats",
        formula=(
            f"max_v mean_x l(x; w + v) - l(x; w), {_BALL[norm]}"
            if worst
            else f"mean_v mean_x l(x; w + v) - l(x; w), {_NOISE[norm]}"
        ),
        source="Kwon et al. 2021 (ASAM); Andriushchenko et al. 2023",
        hypothesis="+",
        inputs=("weights", "examples"),
        cost="20(F+B)+F on the first 128 examples" if worst else "10 F",
        explanation="Rise of the loss when each weight moves in proportion to its own size, "
        + ("in the worst direction." if worst else "at random."),
        properties=("logit_shift_invariant", "rescale_invariant"),
        departures="Ascent from the weights themselves on one group of 128 examples, with momentum and a fixed"
        " schedule in place of Auto-PGD's adaptive one; a zero weight stays zero; logits are not normalised."
        if worst
        else "Ten draws shared by all examples; logits are not normalised.",
    )


@register(norm="linf", rho=2e-3, examples="clean")
@register(norm="linf", rho=2e-3, examples="pgd")
@register(norm="l2", rho=0.5, examples="clean")
@register(norm="l2", rho=0.5, examples="pgd")
@dataclass(frozen=True)
class AdaptiveSharpness:
    """Largest rise of the mean loss over v = |w| * u with u in an L2 or Linf ball of radius rho."""

    norm: Literal["l2", "linf"] = "l2"
    examples: Examples = "clean"
    rho: float = 0.5
    n_steps: int = 20
    n_examples: int = 128

    @property
    def info(self) -> MeasureInfo:
        """Info for the norm and the kind of examples."""
        return _info("worst", self.norm).on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean rise over examples at the best iterate."""
        scales = {name: value.abs() for name, value in context.parameters.items()}
        ball = WeightBall(scales, self.norm, self.rho)
        rise, base = worst_rise(context, self.examples, ball, self.n_steps, self.n_examples)
        return MeasureValue.mean(rise, base_loss=float(base.mean()))


@register(norm="linf", rho=0.2, examples="clean")
@register(norm="linf", rho=0.2, examples="pgd")
@register(norm="l2", rho=0.1, examples="clean")
@register(norm="l2", rho=0.1, examples="pgd")
@dataclass(frozen=True)
class AverageAdaptiveSharpness:
    """Mean rise of the loss over random v: normal with standard deviation rho |w_j|, or uniform up to it."""

    norm: Literal["l2", "linf"] = "l2"
    examples: Examples = "clean"
    rho: float = 0.1
    n_draws: int = 10
    n_examples: int = 1024

    @property
    def info(self) -> MeasureInfo:
        """Info for the norm and the kind of examples."""
        return _info("average", self.norm).on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean rise over draws and examples; both parts of the standard error as diagnostics."""
        n = min(self.n_examples, context.n)
        parameters, images = context.parameters, context.examples(self.examples)[:n]
        base = base_losses(context, self.examples, n)
        noise = WeightNoise(parameters, context.settings.seed, "adaptive_sharpness")
        rises = torch.stack(
            [
                losses(context, shifted(parameters, self._shift(parameters, noise[d])), images) - base
                for d in range(self.n_draws)
            ]
        ).cpu()
        draws, examples = standard_error(rises.mean(1)), standard_error(rises.mean(0))
        diagnostics = {"standard_error_draws": draws, "standard_error_examples": examples}
        return MeasureValue(float(rises.mean()), math.hypot(draws, examples), rises.mean(0), diagnostics, n)

    def _shift(self, parameters: dict[str, Tensor], noise: dict[str, Tensor]) -> dict[str, Tensor]:
        """One random perturbation; the uniform numbers are the normal ones' distribution function."""
        if self.norm == "l2":
            return {name: self.rho * value.abs() * noise[name] for name, value in parameters.items()}
        return {
            name: self.rho * value.abs() * torch.special.erf(noise[name] / math.sqrt(2))
            for name, value in parameters.items()
        }


def worst_rise(
    context: MeasureContext, examples: Examples, ball: WeightBall, n_steps: int, n_examples: int
) -> tuple[Tensor, Tensor]:
    """Return each example's rise of the loss at the best iterate of an ascent from the weights, and its first loss.

    Both float64 [n].
    """
    n = min(n_examples, context.n)
    base = base_losses(context, examples, n)
    best, highest = None, float(base.mean())
    search = WorstCase(ball, fading(n_steps), momentum=0.75)
    for iterate in search.iterates(context, examples, n):
        found = float(cross_entropies(iterate.logits, context.labels[:n]).mean())
        best, highest = (iterate, found) if found > highest else (best, highest)
    return rise_at(context, examples, best, n), base
