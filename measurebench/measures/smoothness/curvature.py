"""How far the loss is from linear near an image: CURE's change of the gradient, and the local linearity error."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from measurebench.attacks.losses import cross_entropy_sum, input_gradient
from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.perturbation.image_ascent import Ascent
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["Cure", "LocalLinearity"]

_CURE = MeasureInfo(
    id="cure",
    title="Curvature (CURE)",
    family="smoothness",
    unit="nats/pixel unit",
    formula="mean_x ||grad l(x + h z) - grad l(x)||_2, z = sign(grad l(x)) / ||sign(grad l(x))||_2",
    latex=r"\frac{1}{n} \sum_x \lVert \nabla_x \ell(x + h z) - \nabla_x \ell(x) \rVert_2,"
    r"\quad z = \frac{\operatorname{sign} \nabla_x \ell(x)}{\lVert \operatorname{sign} \nabla_x \ell(x) \rVert_2}",
    source="Moosavi-Dezfooli et al. 2019 (CURE), regularisation term, h = 1.5",
    hypothesis="+",
    inputs=("examples", "gradient"),
    cost="F+B",
    explanation="How much the gradient of the loss changes over one step along its own sign.",
    properties=("logit_shift_invariant",),
    departures="In pixel units, so that h is an L2 length in [0, 1]. The step is not clipped, and the norm is not"
    " squared.",
)


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class Cure:
    """Mean change of the input gradient over a step of length ``h`` along its sign.

    The default of ``h`` is the paper's.
    """

    examples: Examples = "clean"
    h: float = 1.5

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        return _CURE.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean change; examples with a zero gradient contribute 0.

        Raises UndefinedMeasureError if every gradient is zero.
        """
        images, before = context.examples(self.examples), context.input_gradients(self.examples).inputs
        signs = before.sign()
        lengths = signs.flatten(1).norm(dim=1).reshape(-1, *[1] * (images.dim() - 1))
        if not bool(lengths.any()):
            raise UndefinedMeasureError("every input gradient is zero, so there is no direction for a step")
        steps = self.h * signs / lengths.clamp_min(1.0)

        def change(rows: slice) -> Tensor:
            points = images[rows] + steps[rows]
            after = input_gradient(context.network, points, context.labels[rows], cross_entropy_sum)
            turned: Tensor = (after.double() - before[rows].double()).flatten(1).norm(dim=1)
            return turned

        return MeasureValue.mean(
            context.batches.cat(change, context.n), zero_gradients=float((lengths == 0).double().mean())
        )


@register()
@dataclass(frozen=True)
class LocalLinearity:
    """Largest error found of the first-order expansion of the loss within the threat model's ball."""

    steps: int = 10
    step_fraction: float = 0.25
    info: ClassVar[MeasureInfo] = MeasureInfo(
        id="llr_gamma",
        title="Local linearity error",
        family="smoothness",
        unit="nats",
        formula="mean_x max_{||d|| <= eps} |l(x + d) - l(x) - d . grad l(x)|",
        latex=r"\frac{1}{n} \sum_x \max_{\lVert d \rVert \le \varepsilon}"
        r" \lvert \ell(x + d) - \ell(x) - d^{\top} \nabla_x \ell(x) \rvert",
        source="Qin et al. 2019, local linearity measure gamma(eps, x)",
        hypothesis="+",
        inputs=("clean", "gradient"),
        cost="10(F+B)+F",
        explanation="The error of a linear approximation of the loss near an image.",
        properties=("logit_shift_invariant",),
        departures="The maximum is approached by 10 steps of steepest ascent on the error, each a quarter of the"
        " radius, from a uniform start. The value is taken at the last iterate.",
    )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean error at the last iterates of the ascent."""
        points = Ascent("llr", self.steps, self.step_fraction)(context, lambda rows, x: self._error(context, rows, x))
        with torch.no_grad():
            errors = context.batches.cat(lambda rows: self._error(context, rows, points[rows]), context.n)
        return MeasureValue.mean(errors)

    def _error(self, context: MeasureContext, rows: slice, points: Tensor) -> Tensor:
        shared, labels = context.input_gradients("clean"), context.labels[rows]
        loss = F.cross_entropy(context.network(points).double(), labels, reduction="none")
        base = F.cross_entropy(shared.logits[rows].double(), labels, reduction="none")
        way = (points - context.images[rows]).double()
        return (loss - base - (way * shared.inputs[rows]).flatten(1).sum(1)).abs()
