"""Percentiles of the logit margin, and the inverse margin."""

from dataclasses import dataclass

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.outputs import GAMMA_LATEX, MARGIN_LATEX, logit_margins, scale_margin
from measurebench.measures.registry import register
from measurebench.measures.uncertainty import order_statistic, percentile_rank
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["InverseMargin", "MarginPercentile"]

_EXTREMES = {0.0: "min", 100.0: "max"}
_TITLES = {0.0: "Smallest margin", 100.0: "Largest margin"}
_PUBLISHED = "the public code takes the (n // {0:g})-th smallest margin, which is the {1:.3g} % quantile"


def _with_examples(measure_class: type["MarginPercentile"]) -> type["MarginPercentile"]:
    for percent in (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 100.0):
        register(percent=percent, examples="clean")(measure_class)
        register(percent=percent, examples="pgd")(measure_class)
    return measure_class


@_with_examples
@dataclass(frozen=True)
class MarginPercentile:
    """A percentile of the logit margin: one of the margins, never interpolated; 0 and 100 are the extremes."""

    percent: float
    examples: Examples = "clean"
    variant: str = "definition"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for this percentile and the kind of examples."""
        inside = 10 < self.percent < 100
        published = _PUBLISHED.format(self.percent, 100 / self.percent) if inside else ""
        info = MeasureInfo(
            id=f"margin_{_EXTREMES.get(self.percent, f'p{self.percent:g}')}",
            title=_TITLES.get(self.percent, f"Margin, {self.percent:g}th percentile"),
            family="margins",
            unit="logits",
            formula=f"{_EXTREMES[self.percent]} over x of z_y - max_{{j != y}} z_j"
            if self.percent in _EXTREMES
            else f"k-th smallest z_y - max_{{j != y}} z_j, k = max(1, floor({self.percent / 100:g} n))",
            latex=rf"\{_EXTREMES[self.percent]}_x \Bigl( {MARGIN_LATEX} \Bigr)"
            if self.percent in _EXTREMES
            else rf"m_{{(k)}},\quad k = \max(1, \lfloor {self.percent / 100:g}\, n \rfloor),\quad m = {MARGIN_LATEX}",
            source="Dziugaite et al. 2020 (10th percentile); Jiang et al. 2019",
            hypothesis="-",
            inputs=("examples",),
            cost="shared",
            explanation=f"The {'smallest' if self.percent == 0 else 'largest'} margin of an example."
            if self.percent in _EXTREMES
            else f"The margin below which {self.percent:g} % of the examples lie. A misclassified example has a"
            " negative margin.",
            properties=("logit_scale_equivariant", "logit_shift_invariant"),
            variants={"reference": published} if published else {},
        )
        return info.on(self.examples).as_variant(self.variant)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the percentile, with a standard error from the binomial interval of its rank.

        Raises UndefinedMeasureError for the variant ``reference`` with too few examples for its rank.
        """
        margins = logit_margins(context, self.examples)
        rank = percentile_rank(len(margins), self.percent)
        if self.variant == "reference":
            rank = len(margins) // round(self.percent)
            if rank == 0:
                raise UndefinedMeasureError(f"fewer than {self.percent:g} examples, so n // {self.percent:g} is 0")
        found = order_statistic(margins, rank)
        diagnostics = {"low": found.low, "high": found.high, "rank": rank}
        return MeasureValue(found.value, found.standard_error, margins.cpu(), diagnostics, len(margins))


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class InverseMargin:
    """One over the squared 10th percentile of the logit margin.

    The square hides the sign. If more than a tenth of the examples are misclassified, the percentile is negative, and
    the measure grows as the network improves. The diagnostics hold the percentile with its sign.
    """

    examples: Examples = "clean"
    variant: str = "definition"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        info = MeasureInfo(
            id="inverse_margin",
            title="Inverse margin",
            family="margins",
            unit="1/logits^2",
            formula="1 / gamma^2, gamma the k-th smallest z_y - max_{j != y} z_j, k = max(1, floor(0.1 n))",
            latex=rf"\frac{{1}}{{\gamma^2}},\quad {GAMMA_LATEX}",
            source="Dziugaite et al. 2020, INVERSE_MARGIN; Jiang et al. 2020",
            hypothesis="+",
            inputs=("examples",),
            cost="shared",
            explanation="Large when the 10th percentile of the margin is close to zero. The measure is meant for"
            " networks that classify at least nine in ten examples correctly. For other networks the percentile is"
            " negative, and the measure falls as the network gets worse; the diagnostic negative_margin reports this.",
            properties=("logit_shift_invariant",),
            variants={
                "reference": "the public code takes |gamma| and k = n // 10: the same number, but the sign of gamma is"
                " lost and fewer than ten examples are refused",
                "signed": "sign(gamma) / gamma^2, which keeps the sign of a negative percentile",
            },
        )
        return info.on(self.examples, tier="core" if self.examples == "pgd" else "extended").as_variant(self.variant)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the inverse, with the delta-method standard error 2 se(gamma) / |gamma|^3.

        Raises UndefinedMeasureError for the variant ``reference`` with fewer than ten examples; there is no value
        where gamma is zero.
        """
        if self.variant == "reference" and context.n < 10:
            raise UndefinedMeasureError("fewer than 10 examples, so n // 10 is 0")
        gamma = scale_margin(context, self.examples)
        size = abs(gamma.value)
        error = None if gamma.standard_error is None else 2 * gamma.standard_error / size**3
        sign = -1.0 if self.variant == "signed" and gamma.value < 0 else 1.0
        diagnostics = {
            "gamma": size if self.variant == "reference" else gamma.value,
            "gamma_low": gamma.low,
            "gamma_high": gamma.high,
            "negative_margin": int(gamma.value < 0),
        }
        return MeasureValue(sign / size**2, error, None, diagnostics, context.n).checked()
