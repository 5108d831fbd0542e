"""Norm of the gradient of the loss in the image."""

from dataclasses import dataclass
from typing import Literal

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.registry import register
from measurebench.measures.uncertainty import root_mean
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["InputGradientNorm", "Kind"]

Kind = Literal["", "l1", "rms"]
_FORMULAS: dict[Kind, tuple[str, str, str]] = {
    "": (
        "Input gradient norm",
        "mean_x ||grad_x CE(f(x), y)||_2",
        r"\frac{1}{n} \sum_x \lVert \nabla_x \ell(x) \rVert_2",
    ),
    "l1": (
        "Input gradient norm, L1",
        "mean_x ||grad_x CE(f(x), y)||_1",
        r"\frac{1}{n} \sum_x \lVert \nabla_x \ell(x) \rVert_1",
    ),
    "rms": (
        "Input gradient norm, root mean square",
        "sqrt(mean_x ||grad_x CE(f(x), y)||_2^2)",
        r"\sqrt{\frac{1}{n} \sum_x \lVert \nabla_x \ell(x) \rVert_2^2}",
    ),
}


@register(kind="", examples="clean")
@register(kind="", examples="pgd")
@register(kind="l1", examples="clean")
@register(kind="l1", examples="pgd")
@register(kind="rms", examples="clean")
@register(kind="rms", examples="pgd")
@dataclass(frozen=True)
class InputGradientNorm:
    """Mean L2 norm of each example's own gradient, or the mean L1 norm (dual to Linf), or the root mean square."""

    kind: Kind = ""
    examples: Examples = "clean"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for this norm and the kind of examples."""
        title, formula, latex = _FORMULAS[self.kind]
        return MeasureInfo(
            id="x_grad_norm" + (f"_{self.kind}" if self.kind else ""),
            title=title,
            family="gradients",
            unit="nats/pixel unit",
            formula=formula,
            latex=latex,
            source="Ross and Doshi-Velez 2018; Simon-Gabriel et al. 2019",
            hypothesis="+",
            inputs=("examples", "gradient"),
            cost="shared",
            explanation="How fast the loss changes when the image changes.",
            properties=("logit_shift_invariant",),
        ).on(self.examples, tier="core" if self.examples == "pgd" and not self.kind else "extended")

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the norm; the share of gradients that are exactly zero (saturation) is a diagnostic.

        Raises UndefinedMeasureError if all of them are.
        """
        gradients = context.input_gradients(self.examples).inputs.flatten(1).double()
        norms = gradients.norm(p=1 if self.kind == "l1" else 2, dim=1)
        zero = float((norms == 0).double().mean())
        if zero == 1:
            raise UndefinedMeasureError(
                "every input gradient is exactly zero: the softmax is saturated in this precision"
            )
        if self.kind == "rms":
            return root_mean(norms.square(), zero_gradients=zero)
        return MeasureValue.mean(norms, zero_gradients=zero)
