"""PAC-Bayes flatness: the random weight noise that lowers the accuracy by a tenth."""

from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.perturbation.noise_level import Displacement
from measurebench.measures.perturbation.posterior import accuracy_displacement
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["DRAFT", "FLAT", "MAGNITUDE", "Noise", "PacBayesFlatness", "Posterior"]

Noise = Literal["isotropic", "magnitude"]

_ACCURACY_LATEX = (
    r"\frac{1}{\sigma^2},\quad \mathbb{E}_u \operatorname{acc}(w + u) = \operatorname{acc}(w) - 0.1,\quad "
)

DRAFT = (
    "the settings in the draft of the study's code: at most 15 halvings of [0, 2] with 10 draws, until the accuracy has"
    " fallen by 0.1 to within 0.01, and e = 1e-3; the draft's percentages and its squared deviation are not reproduced"
)
_DRAFT_HALVINGS, _DRAFT_TOLERANCE = 15, 0.01

FLAT = MeasureInfo(
    id="pacbayes_flat",
    title="PAC-Bayes flatness",
    family="flatness",
    unit="1 / weight^2",
    formula="1 / sigma^2, E_u acc(w + u) = acc(w) - 0.1, u ~ N(0, sigma^2 I)",
    latex=_ACCURACY_LATEX + r"u \sim \mathcal{N}(0, \sigma^2 I)",
    source="Jiang et al. 2020, PAC-Bayes flatness; search of Dziugaite et al. 2020",
    hypothesis="+",
    inputs=("weights", "examples"),
    cost="about 60 F",
    version=2,  # since the noise is drawn from a counter
    explanation="Large when little Gaussian noise on all weights lowers the accuracy by a tenth, as in a sharp"
    " minimum.",
    properties=("logit_scale_invariant", "logit_shift_invariant"),
    variants={
        "reference": "passes sigma^2 as the standard deviation, as the public code does, which gives 1 / (standard"
        " deviation)",
        "draft": DRAFT,
    },
    departures="The ten draws of noise are the same at every level, so that the level is exact for these draws. The"
    " accuracy must fall; a rise by a tenth does not count. The adversarial examples remain those of the unperturbed"
    " network. Batch norm is folded where that is exact.",
)

MAGNITUDE = MeasureInfo(
    id="pacbayes_mag_flat",
    title="Magnitude-aware PAC-Bayes flatness",
    family="flatness",
    unit="1",
    formula="1 / sigma^2, E_u acc(w + u) = acc(w) - 0.1, u_j ~ N(0, sigma^2 w_j^2 + e^2), e = 1e-3",
    latex=_ACCURACY_LATEX + r"u_j \sim \mathcal{N}(0, \sigma^2 w_j^2 + e^2),\quad e = 10^{-3}",
    source="Jiang et al. 2020, PAC-Bayes flatness; search of Dziugaite et al. 2020",
    hypothesis="+",
    inputs=("weights", "examples"),
    cost="about 60 F",
    version=2,  # since the noise is drawn from a counter
    explanation="Large when little Gaussian noise, in proportion to each weight, lowers the accuracy by a tenth.",
    properties=("logit_scale_invariant", "logit_shift_invariant"),
    variants={
        "reference": "passes sigma^2 w_j^2 + e^2 as the standard deviation, as the public code does",
        "draft": DRAFT,
    },
    departures=FLAT.departures,
)


@dataclass(frozen=True)
class Posterior:
    """Parameters of the search: the fall of the accuracy, the draws of noise and the tolerance of the level.

    ``displacement``, ``largest_sigma`` and ``n_draws`` are those of Dziugaite et al. 2020; ``tolerance`` is relative.
    """

    noise: Noise = "isotropic"
    examples: Examples = "clean"
    displacement: float = 0.1
    largest_sigma: float = 2.0
    magnitude_floor: float = 1e-3
    n_draws: int = 10
    tolerance: float = 0.03
    n_examples: int = 1000
    variant: str = "definition"

    def posterior(self) -> "Posterior":
        """Return these parameters without those of a subclass; equal ones share one search."""
        return Posterior(**{item.name: getattr(self, item.name) for item in fields(Posterior)})

    def deviations(self, weight: Tensor, sigma: float) -> Tensor | float:
        """Return the standard deviation of the noise for each entry of a weight, in the same shape or as one number."""
        if self.noise == "isotropic":
            return sigma**2 if self.variant == "reference" else sigma
        variance = torch.mul(weight, weight).mul_(sigma**2).add_(self.magnitude_floor**2)
        return variance if self.variant == "reference" else variance.sqrt_()

    def found(self, context: MeasureContext) -> Displacement:
        """Return sigma with its error, searched once for all measures with these parameters.

        Raises UndefinedMeasureError with the reason if no sigma lowers the accuracy by the displacement.
        """
        outcome = context.shared(f"posterior {self!r}", lambda: self._search(context))
        if isinstance(outcome, str):
            raise UndefinedMeasureError(outcome)
        return outcome

    def _search(self, context: MeasureContext) -> Displacement | str:
        draft = self.variant == "draft"
        try:
            return accuracy_displacement(
                context,
                self.examples,
                self.deviations,
                self.displacement,
                self.largest_sigma,
                self.n_draws,
                _DRAFT_TOLERANCE if draft else self.tolerance,
                self.n_examples,
                _DRAFT_HALVINGS if draft else None,
            )
        except UndefinedMeasureError as undefined:
            return str(undefined)  # the error itself would keep its frames, and so the whole context, in memory


@register(noise="magnitude", examples="clean")
@register(noise="magnitude", examples="pgd")
@register(noise="isotropic", examples="clean")
@register(noise="isotropic", examples="pgd")
@dataclass(frozen=True)
class PacBayesFlatness(Posterior):
    """1 / sigma^2 for the noise level sigma at which the mean accuracy has fallen by ``displacement``.

    Undefined if the accuracy starts below the displacement, never falls that far, or rises.
    """

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the noise and the kind of examples."""
        info = FLAT if self.noise == "isotropic" else MAGNITUDE
        return info.on(self.examples, tier="core" if self.examples == "pgd" else "extended").as_variant(self.variant)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return 1 / sigma^2, with its standard error across draws; sigma and the passes used are diagnostics."""
        found = self.posterior().found(context)
        value = found.level**-2
        return MeasureValue(
            value,
            2 * value * found.log_level_error,
            None,
            {"sigma": found.level, "sigma_relative_error": found.log_level_error, "n_passes": found.n_evaluations},
            min(self.n_examples, context.n),
        ).checked()
