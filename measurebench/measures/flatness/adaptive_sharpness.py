"""Adaptive sharpness, worst-case and average: each weight moves in proportion to its own size."""

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

_BALL_LATEX = {
    "l2": r"\lVert v / \lvert w \rvert \rVert_2 \le \rho",
    "linf": r"\lvert v_j \rvert \le \rho \lvert w_j \rvert",
}
_NOISE_LATEX = {
    "l2": r"v_j \sim \mathcal{N}(0, \rho^2 w_j^2)",
    "linf": r"v_j \sim \mathcal{U}(-\rho \lvert w_j \rvert, \rho \lvert w_j \rvert)",
}
_RISE_LATEX = r"\frac{1}{n} \sum_x \bigl( \ell(x; w + v) - \ell(x; w) \bigr)"


def _info(case: str, norm: str) -> MeasureInfo:
    """Return the info of one of the four forms, shared by clean and PGD examples."""
    worst = case == "worst"
    suffix = ("" if worst else "_avg") + ("" if norm == "l2" else "_linf")
    return MeasureInfo(
        id=f"adaptive_sharpness{suffix}",
        title=f"{'Worst-case' if worst else 'Average'} adaptive sharpness, {'L2' if norm == 'l2' else 'Linf'}",
        family="flatness",
        unit="nats",
        formula=(
            f"max_v mean_x l(x; w + v) - l(x; w), {_BALL[norm]}"
            if worst
            else f"mean_v mean_x l(x; w + v) - l(x; w), {_NOISE[norm]}"
        ),
        latex=rf"\max_{{{_BALL_LATEX[norm]}}} {_RISE_LATEX}"
        if worst
        else rf"\mathbb{{E}}_v\, {_RISE_LATEX},\quad {_NOISE_LATEX[norm]}",
        source="Kwon et al. 2021 (ASAM); Andriushchenko et al. 2023",
        hypothesis="+",
        inputs=("weights", "examples"),
        cost="20(F+B)+F on the first 128 examples" if worst else "10 F",
        version=1 if worst else 2,  # since the noise is drawn from a counter
        explanation="Increase of the loss when each weight moves in proportion to its own size, "
        + ("in the worst direction." if worst else "in a random direction."),
        properties=("logit_shift_invariant", "rescale_invariant"),
        departures="The ascent starts at the weights themselves and uses one group of 128 examples, with momentum and a"
        " fixed schedule in place of Auto-PGD's adaptive one. A weight of zero stays zero. Logits are not normalised."
        if worst
        else "The ten draws are shared by all examples. Logits are not normalised.",
    )


@register(norm="linf", rho=2e-3, examples="clean")
@register(norm="linf", rho=2e-3, examples="pgd")
@register(norm="l2", rho=0.5, examples="clean")
@register(norm="l2", rho=0.5, examples="pgd")
@dataclass(frozen=True)
class AdaptiveSharpness:
    """Largest increase of the mean loss over v = |w| * u for u in an L2 or Linf ball of radius ``rho``.

    The L2 radius lies in the grid of Andriushchenko et al. 2023 (0.25 to 2); the Linf radius is our choice.
    """

    norm: Literal["l2", "linf"] = "l2"
    examples: Examples = "clean"
    rho: float = 0.5
    n_steps: int = 20
    n_examples: int = 128

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the norm and the kind of examples."""
        return _info("worst", self.norm).on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean increase over examples at the best iterate, in nats; never negative."""
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
    """Mean increase of the loss over random v: normal with standard deviation rho |w_j|, or uniform in +-rho |w_j|.

    Both radii lie in the grids of Andriushchenko et al. 2023 (L2: 0.05 to 0.4, Linf: 0.1 to 0.8), and the number of
    examples is theirs.
    """

    norm: Literal["l2", "linf"] = "l2"
    examples: Examples = "clean"
    rho: float = 0.1
    n_draws: int = 10
    n_examples: int = 1024

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the norm and the kind of examples."""
        return _info("average", self.norm).on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean increase over draws and examples; the diagnostics hold both parts of the standard error."""
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
        """Return one random perturbation; the distribution function maps normal numbers to uniform ones."""
        if self.norm == "l2":
            return {name: self.rho * value.abs() * noise[name] for name, value in parameters.items()}
        return {
            name: self.rho * value.abs() * torch.special.erf(noise[name] / math.sqrt(2))
            for name, value in parameters.items()
        }


def worst_rise(
    context: MeasureContext, examples: Examples, ball: WeightBall, n_steps: int, n_examples: int
) -> tuple[Tensor, Tensor]:
    """Return each example's increase of the loss at the best iterate of an ascent, and its loss at the weights.

    Both are float64 [n] for the first n examples. The weights themselves count as an iterate.
    """
    n = min(n_examples, context.n)
    base = base_losses(context, examples, n)
    best, highest = None, float(base.mean())
    search = WorstCase(ball, fading(n_steps), momentum=0.75)
    for iterate in search.iterates(context, examples, n):
        found = float(cross_entropies(iterate.logits, context.labels[:n]).mean())
        best, highest = (iterate, found) if found > highest else (best, highest)
    return rise_at(context, examples, best, n), base
