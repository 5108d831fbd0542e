"""PAC-Bayes bounds: the distance of the weights from a prior, relative to the weight noise that they tolerate."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from measurebench.core.info import MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.flatness.pacbayes_flat import DRAFT, Noise, Posterior
from measurebench.measures.perturbation.posterior import Centre, centre
from measurebench.measures.perturbation.weight_noise import Tensors, length
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue

__all__ = ["Origin", "PacBayesBound"]

Origin = Literal["init", "orig"]

_FORMULAS = {
    "isotropic": "||v||^2 / (4 sigma^2) + log(m / sigma) + 10",
    "magnitude": "1/4 sum_j log[(e^2 + (sigma^2+1) ||v||^2 / omega) / (e^2 + sigma^2 (w_j-w0_j)^2)]"
    " + log(m / sigma) + 10",
}

_LATEX = {
    "isotropic": r"\frac{\lVert v \rVert_2^2}{4 \sigma^2}",
    "magnitude": r"\frac{1}{4} \sum_j \log \frac{e^2 + (\sigma^2 + 1) \lVert v \rVert_2^2 / \omega}"
    r"{e^2 + \sigma^2 (w_j - w_j^0)^2}",
}
_REST_LATEX = r" + \log \frac{m}{\sigma} + 10,\quad v = "


def _info(noise: Noise, origin: Origin) -> MeasureInfo:
    """Return the info of one of the four bounds."""
    magnitude = noise == "magnitude"
    prior = "the initial weights" if origin == "init" else "zero"
    return MeasureInfo(
        id=f"pacbayes_{'mag_' if magnitude else ''}{origin}",
        title=f"{'Magnitude-aware ' if magnitude else ''}PAC-Bayes bound from {prior}",
        family="flatness",
        unit="nats",
        formula=f"{_FORMULAS[noise]}, v = {'w - w0' if origin == 'init' else 'w'}",
        latex=_LATEX[noise] + _REST_LATEX + ("w - w^0" if origin == "init" else "w"),
        source="Jiang et al. 2020, PAC-Bayes bounds; Dziugaite et al. 2020",
        hypothesis="+",
        inputs=("weights", "examples", *(("initial_weights",) if magnitude or origin == "init" else ())),
        cost=f"shared with pacbayes_{'mag_' if magnitude else ''}flat",
        version=2,  # since the noise is drawn from a counter
        explanation=f"Distance of the weights from {prior}, relative to the weight noise that lowers the accuracy by a"
        " tenth. m is the number of examples.",
        properties=("logit_scale_invariant", "logit_shift_invariant"),
        variants={
            "reference": "the noise level of the public code, which passes the variance sigma^2 as the standard"
            " deviation",
            "draft": DRAFT,
        },
        departures="v contains the parameters that the noise moves, after batch norm is folded where that is exact;"
        " omega is their number. The sum is the published one before its scaling by the number of training examples.",
    )


@register(noise="magnitude", origin="orig", examples="clean")
@register(noise="magnitude", origin="orig", examples="pgd")
@register(noise="magnitude", origin="init", examples="clean")
@register(noise="magnitude", origin="init", examples="pgd")
@register(noise="isotropic", origin="orig", examples="clean")
@register(noise="isotropic", origin="orig", examples="pgd")
@register(noise="isotropic", origin="init", examples="clean")
@register(noise="isotropic", origin="init", examples="pgd")
@dataclass(frozen=True)
class PacBayesBound(Posterior):
    """Complexity term of the PAC-Bayes bound with a prior at the origin or at the initial weights.

    Undefined where the noise level is undefined, and where initial weights are needed but not known.
    """

    origin: Origin = "orig"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for noise, prior and kind of examples."""
        return _info(self.noise, self.origin).on(self.examples).as_variant(self.variant)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the bound, with the standard error that follows from that of the noise level, a diagnostic."""
        needs_initial = "initial_weights" in self.info.inputs
        first = centre(context, context.initial_network) if needs_initial else None
        found = self.posterior().found(context)
        here = context.shared("posterior centre", lambda: centre(context))
        m = min(self.n_examples, context.n)
        value = self._bound(here, first, found.level, m)
        # the derivative in log sigma by a step of 0.1 %, small enough for a slope and large beside float64 rounding
        slope = (self._bound(here, first, found.level * 1.001, m) - value) / math.log(1.001)
        error = abs(slope) * found.log_level_error
        return MeasureValue(value, error, None, {"sigma": found.level}, m).checked()

    def _bound(self, here: Centre, first: Centre | None, sigma: float, m: int) -> float:
        """Return the bound at a noise level, in float64."""
        moved = here.weights if first is None else _difference(here.weights, first.weights)
        reach = moved if self.origin == "init" else here.weights
        squared = length(reach.values()) ** 2
        rest = math.log(m / sigma) + 10
        if self.noise == "isotropic":
            return squared / (4 * sigma**2) + rest
        floor = self.magnitude_floor**2
        top = math.log(floor + (sigma**2 + 1) * squared / here.n_weights)
        bottoms = [torch.log(floor + sigma**2 * d.double().square()).sum() for d in moved.values()]
        return (here.n_weights * top - math.fsum(float(b) for b in bottoms)) / 4 + rest


def _difference(weights: Tensors, others: Tensors) -> dict[str, Tensor]:
    return {name: weight.double() - others[name].double() for name, weight in weights.items()}
