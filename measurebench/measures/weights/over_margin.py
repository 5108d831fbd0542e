"""Weight norms divided by the squared margin."""

import math
from dataclasses import dataclass

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.network.weight_blocks import blocks_of, log_sum, squared_spectral, weight_value
from measurebench.measures.outputs import GAMMA_LATEX, scale_margin
from measurebench.measures.registry import Measure, register
from measurebench.measures.uncertainty import OrderStatistic
from measurebench.measures.value import MeasureValue
from measurebench.measures.weights.path_norm import PathNorm
from measurebench.measures.weights.products import LogLayerNorms
from measurebench.measures.weights.spectral_ratio import ratio_to_spectral, way_from_start

__all__ = ["LogSpecMain", "OverMargin"]

_BASES: dict[str, Measure] = {
    "log_prod_of_fro": LogLayerNorms("fro", "prod"),
    "log_sum_of_fro": LogLayerNorms("fro", "sum"),
    "log_prod_of_spec": LogLayerNorms("spec", "prod"),
    "log_sum_of_spec": LogLayerNorms("spec", "sum"),
    "path_norm": PathNorm(),
}
_GAMMA = "gamma the 10th percentile of the logit margin"
_EXPLANATION = (
    "Weighs the size of the network against the margin with which it separates its examples: large weights are no"
    " disadvantage when the margin grows with them. If the 10th percentile of the margin is negative, only its absolute"
    " value enters; the diagnostic negative_margin reports this."
)
_MARGIN_TERM = r" - 2 \log \lvert \gamma \rvert"


def _log_value(log_norm: MeasureValue, context: MeasureContext, examples: Examples) -> MeasureValue:
    """Return log norm - 2 log |gamma|, its error by the delta method: 2 se(gamma) / |gamma|."""
    gamma = scale_margin(context, examples)
    error = None if gamma.standard_error is None else 2 * gamma.standard_error / abs(gamma.value)
    value = (log_norm.value or 0.0) - 2 * math.log(abs(gamma.value))
    return MeasureValue(value, error, None, {**log_norm.diagnostics, **_signs(gamma)}, context.n).checked()


def _signs(gamma: OrderStatistic) -> dict[str, float | int | str | None]:
    return {"gamma": gamma.value, "negative_margin": int(gamma.value < 0)}


def _register_all(measure_class: type["OverMargin"]) -> type["OverMargin"]:
    for base in _BASES:
        register(base=base, examples="clean")(measure_class)
        register(base=base, examples="pgd")(measure_class)
    return measure_class


@_register_all
@dataclass(frozen=True)
class OverMargin:
    """A weight norm divided by the squared 10th percentile of the logit margin."""

    base: str
    examples: Examples = "clean"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for this norm and kind of examples."""
        base = _BASES[self.base].info
        log = base.unit == "nats"
        info = MeasureInfo(
            id=f"{base.id}_over_margin",
            title=f"{base.title} over margin",
            family="weights",
            unit=base.unit if log else f"{base.unit}/logits^2",
            formula=f"{base.formula} - 2 log |gamma|, {_GAMMA}" if log else f"({base.formula}) / gamma^2, {_GAMMA}",
            latex=f"{base.latex}{_MARGIN_TERM},\\quad {GAMMA_LATEX}"
            if log
            else rf"\frac{{1}}{{\gamma^2}} {base.latex},\quad {GAMMA_LATEX}",
            source=f"Dziugaite et al. 2020, {base.id.upper()}_OVER_MARGIN",
            hypothesis="+",
            inputs=(*base.inputs, "examples"),
            cost="shared",
            explanation=_EXPLANATION,
            # adding a function of the image to all logits adds paths, and the path norm counts them
            properties=(("logit_shift_invariant",) if log else ()) + ("rescale_invariant",),
            departures=base.departures,
        )
        return info.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the ratio, or its logarithm for a norm that is a logarithm; there is none where gamma is zero."""
        norm = _BASES[self.base](context)
        if _BASES[self.base].info.unit == "nats":
            return _log_value(norm, context, self.examples)
        gamma = scale_margin(context, self.examples)
        value = (norm.value or 0.0) / gamma.value**2
        error = None if gamma.standard_error is None else 2 * value * gamma.standard_error / abs(gamma.value)
        return MeasureValue(value, error, None, {**norm.diagnostics, **_signs(gamma)}, context.n).checked()


@register(start=True, examples="clean")
@register(start=True, examples="pgd")
@register(start=False, examples="clean")
@register(start=False, examples="pgd")
@dataclass(frozen=True)
class LogSpecMain:
    """Main term of the spectral generalization bound, from initialisation (``start``) or from the origin."""

    start: bool
    examples: Examples = "clean"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for this origin and kind of examples."""
        way = "W_l - W_l^0" if self.start else "W_l"
        ratio = rf"\sum_l \frac{{\lVert {way} \rVert_F^2}}{{\sigma_l^2}}"
        key = "LOG_SPEC_INIT_MAIN" if self.start else "LOG_SPEC_ORIG_MAIN"
        info = MeasureInfo(
            id=key.lower(),
            title=f"Spectral bound from {'initialisation' if self.start else 'the origin'} (log)",
            family="weights",
            unit="nats",
            formula=f"sum_l log sigma_l^2 - 2 log |gamma| + log sum_l ||{way}||_F^2 / sigma_l^2, {_GAMMA}",
            latex=rf"\sum_l \log \sigma_l^2{_MARGIN_TERM} + \log {ratio},\quad \sigma_l = \sigma_{{\max}}(W_l),\quad "
            + GAMMA_LATEX,
            source=f"Dziugaite et al. 2020, {key}; Bartlett et al. 2017",
            hypothesis="+",
            inputs=("weights", "initial_weights", "examples") if self.start else ("weights", "examples"),
            cost="shared",
            explanation=_EXPLANATION,
            properties=("logit_shift_invariant",) + (() if self.start else ("rescale_invariant",)),
        )
        return info.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the logarithm of the main term, in nats.

        Undefined if gamma is zero, if the bound needs initial weights that are not known, or if the weights have not
        moved from them.
        """
        blocks = blocks_of(context, "ignore")
        ways = way_from_start(context) if self.start else blocks
        product = log_sum(squared_spectral(context, "ignore"), list(blocks))
        ratio = ratio_to_spectral(context, ways)
        if ratio == 0:
            return MeasureValue.undefined("the weights equal the initial weights, so the distance is zero")
        return _log_value(weight_value(context, product + math.log(ratio)), context, self.examples)
