"""Trace of the Hessian of the loss in the weights, and the Weight-Curvature Index that rests on it."""

import math
from dataclasses import dataclass

from torch import Tensor

from measurebench.core.info import Examples, MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.flatness.average_flat import standard_error
from measurebench.measures.hessian import EXACT_BELOW, LossHessian, traces
from measurebench.measures.layers import weight_layers
from measurebench.measures.perturbation import length
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

TRACE = MeasureInfo(
    id="hess_trace",
    title="Hessian trace",
    family="flatness",
    unit="nats / weight^2",
    formula="Tr d^2/dw^2 mean_x l(x; w) = E_z z' H z",
    source="Hutchinson 1990; Yao et al. 2020 (PyHessian)",
    hypothesis="+",
    inputs=("weights", "examples"),
    cost="30 products with H (about 4 (F+B) each) on the first 128 examples",
    properties=("logit_shift_invariant",),
    explanation="Sum of the curvatures of the loss in all directions of the weights.",
    departures="All trainable parameters; up to 64 of them, the diagonal is taken exactly.",
)

WCI = MeasureInfo(
    id="wci",
    title="Weight-Curvature Index",
    family="flatness",
    unit="nats^(1/2)",
    formula="sum_k sqrt(||W_k||_F^2 Tr H_k), H_k Hessian in the weight of layer k",
    source="arXiv 2410.07719; the place of the square root is inferred",
    hypothesis="+",
    inputs=("weights", "examples"),
    cost="shared with hess_trace",
    tier="new",
    explanation="Curvature of the loss per layer, in units of the layer's own norm.",
    properties=("logit_shift_invariant", "rescale_invariant"),
    departures="One probe serves all layers; a layer whose estimated trace is negative counts zero.",
)


@dataclass(frozen=True)
class TraceProbes:
    """How the trace is estimated, and whether biases and normalisation layers are left out."""

    examples: Examples = "clean"
    n_probes: int = 30
    n_examples: int = 128
    weights_only: bool = False

    def blocks(self, context: MeasureContext) -> tuple[list[str], Tensor]:
        """Return parameter names and the estimates z_l' (H z)_l, float64 [probes, parameters], found once."""
        names = parameters_of_hessian(context, self.weights_only)
        hessian = LossHessian(context, self.examples, names, min(self.n_examples, context.n))
        key = f"{self.examples} traces, {self.n_probes} probes, {self.n_examples} examples, {self.weights_only}"
        return names, context.shared(key, lambda: traces(hessian, "hess_trace", self.n_probes))


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class HessianTrace(TraceProbes):
    """Trace of the Hessian of the mean loss; standard error across probes (0 where the diagonal is exact)."""

    @property
    def info(self) -> MeasureInfo:
        """Info for the kind of examples."""
        return TRACE.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the mean over probes of z' H z."""
        names, blocks = self.blocks(context)
        sums = blocks.sum(1)
        exact = is_exact(context, names)
        error = 0.0 if exact else standard_error(sums)
        return MeasureValue(float(sums.mean()), error, None, {"exact": exact}, min(self.n_examples, context.n))


@register(examples="clean")
@register(examples="pgd")
@dataclass(frozen=True)
class WeightCurvatureIndex(TraceProbes):
    """Sum over weight layers of the Frobenius norm times the root of the Hessian's trace in that layer.

    Undefined where no layer has a weight among the parameters.
    """

    @property
    def info(self) -> MeasureInfo:
        """Info for the kind of examples."""
        return WCI.on(self.examples)

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the index; its standard error by the delta method across probes; negative traces as diagnostic."""
        names, blocks = self.blocks(context)
        weights = dict.fromkeys(layer.parameter for layer in weight_layers(context.network) if layer.parameter)
        if not weights:
            raise UndefinedMeasureError("the network has no convolution, linear or attention weight")
        chosen = [names.index(name) for name in weights]
        norms = [length([context.parameters[name]]) for name in weights]
        layer_traces = blocks[:, chosen]
        means = layer_traces.mean(0).clamp_min(0)
        roots = [norm * math.sqrt(float(trace)) for norm, trace in zip(norms, means, strict=True)]
        slopes = means.new_tensor(
            [norm / root * norm / 2 if root else 0.0 for norm, root in zip(norms, roots, strict=True)]
        )
        error = 0.0 if is_exact(context, names) else standard_error(layer_traces @ slopes)
        n_negative = int((layer_traces.mean(0) < 0).sum())
        return MeasureValue(
            math.fsum(roots), error, None, {"n_negative_traces": n_negative}, min(self.n_examples, context.n)
        )


def parameters_of_hessian(context: MeasureContext, weights_only: bool) -> list[str]:
    """Return the names of all trainable parameters, or of the weights of convolution and linear layers alone."""
    if not weights_only:
        return list(context.parameters)
    return list(dict.fromkeys(layer.parameter for layer in weight_layers(context.network) if layer.parameter))


def is_exact(context: MeasureContext, names: list[str]) -> bool:
    """Tell whether the Hessian is small enough for its exact diagonal."""
    return sum(context.parameters[name].numel() for name in names) <= EXACT_BELOW
