"""Trace of the Hessian of the loss in the weights, and the Weight-Curvature Index computed from it."""

from dataclasses import dataclass

import torch

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.flatness.average_flat import standard_error
from measurebench.measures.network.layers import weight_layers
from measurebench.measures.perturbation.hessian import LossHessian, traces
from measurebench.measures.perturbation.weight_noise import length
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["TRACE", "WCI", "HessianTrace", "WeightCurvatureIndex", "parameters_of_hessian"]

TRACE = MeasureInfo(
    id="hess_trace",
    title="Hessian trace",
    family="flatness",
    unit="nats / weight^2",
    formula="Tr d^2/dw^2 mean_x l(x; w) = E_z z' H z",
    latex=r"\operatorname{Tr} H = \mathbb{E}_z\, z^{\top} H z,\quad H = \nabla_w^2 \frac{1}{n} \sum_x \ell(x; w)",
    source="Hutchinson 1990; Yao et al. 2020 (PyHessian)",
    hypothesis="+",
    inputs=("weights", "examples"),
    cost="30 products with H (about 4 (F+B) each) on the first 128 examples",
    version=2,  # since the noise is drawn from a counter
    properties=("logit_shift_invariant",),
    explanation="Sum of the curvatures of the loss in all directions of the weights.",
    departures="All trainable parameters are included. For networks of at most 64 parameters the trace is exact.",
)

WCI = MeasureInfo(
    id="wci",
    title="Weight-Curvature Index",
    family="flatness",
    unit="nats^(1/2)",
    formula="sum_k sqrt(||W_k||_F^2 Tr H_k), H_k Hessian in the weight of layer k",
    latex=r"\sum_k \sqrt{\lVert W_k \rVert_F^2\, \operatorname{Tr} H_k},"
    r"\quad H_k\ \text{the Hessian in the weight } W_k\ \text{of layer } k",
    source="arXiv 2410.07719; the printed formula is damaged, and we inferred where the square root belongs",
    hypothesis="+",
    inputs=("weights", "examples"),
    cost="30 products with H (about 4 (F+B) each) on the first 128 examples",
    version=2,  # since the noise is drawn from a counter
    tier="new",
    explanation="Curvature of the loss in each layer, relative to the layer's own norm, summed over layers.",
    properties=("logit_shift_invariant", "rescale_invariant"),
    departures="Each probe serves all layers. It is scaled by each layer's norm, so that the estimate is unchanged when"
    " layers are rescaled. A layer whose estimated trace is negative contributes 0. Biases and normalisation layers are"
    " left out.",
)


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class HessianTrace:
    """Trace of the Hessian of the mean loss, with a standard error across probes (0 where the trace is exact).

    The standard error says whether the default of 30 probes suffices.
    """

    examples: Examples = "clean"
    n_probes: int = 30
    n_examples: int = 128
    weights_only: bool = False

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        return TRACE.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean over probes of z' H z."""
        names = parameters_of_hessian(context, self.weights_only)
        hessian = LossHessian(context, self.examples, names, min(self.n_examples, context.n))
        sums = traces(hessian, "hess_trace", self.n_probes).sum(1)
        error = 0.0 if hessian.is_small else standard_error(sums)
        return MeasureValue(float(sums.mean()), error, None, {"exact": hessian.is_small}, hessian.n)


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class WeightCurvatureIndex:
    """Sum over weight layers of the Frobenius norm times the square root of the Hessian's trace in that layer."""

    examples: Examples = "clean"
    n_probes: int = 30
    n_examples: int = 128

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the kind of examples."""
        return WCI.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the index, with a delta-method standard error across probes.

        The diagnostic ``n_negative_traces`` counts the layers that contribute 0. Raises UndefinedMeasureError if no
        weight of a layer is among the network's parameters.
        """
        names = parameters_of_hessian(context, weights_only=True)
        if not names:
            raise UndefinedMeasureError("the network has no convolution, linear or attention weight")
        hessian = LossHessian(context, self.examples, names, min(self.n_examples, context.n))
        norms = {name: length([weight]) for name, weight in hessian.weights.items()}
        squares = traces(hessian, "wci", self.n_probes, norms)
        means = squares.mean(0)
        roots = means.clamp_min(0).sqrt()
        slopes = torch.where(roots > 0, 0.5 / roots, 0.0)
        error = 0.0 if hessian.is_small else standard_error(squares @ slopes)
        return MeasureValue(float(roots.sum()), error, None, {"n_negative_traces": int((means < 0).sum())}, hessian.n)


def parameters_of_hessian(context: MeasureContext, weights_only: bool) -> list[str]:
    """Return the names of all trainable parameters, or only of the weights of convolutions and linear layers."""
    if not weights_only:
        return list(context.parameters)
    return list(dict.fromkeys(layer.parameter for layer in weight_layers(context.network) if layer.parameter))
