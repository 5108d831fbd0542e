"""Derivatives of each example's loss along one direction of the weights, by forward differentiation."""

import importlib
import warnings
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from measurebench.core.info import Examples
from measurebench.measures.context import MeasureContext

_STEP = 1e-3  # of the central difference, relative to the weights' norm, where forward differentiation fails


def directional_derivatives(
    context: MeasureContext, examples: Examples, direction: Mapping[str, Tensor]
) -> Tensor:
    """Return d/dt CE(f(x; w + t v), y) at t = 0 for every example, float64 [n]; one forward pass.

    ``direction`` v by parameter name; parameters without one stay. Where an operation of the network has no
    forward derivative, a central difference takes its place.
    """
    weights = {name: context.parameters[name] for name in direction}
    tangents = {name: vector.to(weights[name]) for name, vector in direction.items()}
    images = context.examples(examples)

    def losses(parameters: dict[str, Tensor], rows: slice) -> Tensor:
        logits = context.logits_with(parameters, images[rows])
        return F.cross_entropy(logits.double(), context.labels[rows], reduction="none")

    def exact(rows: slice) -> Tensor:
        return torch.func.jvp(lambda parameters: losses(parameters, rows), (weights,), (tangents,))[1]  # type: ignore[no-any-return]

    def difference(rows: slice) -> Tensor:
        length = _length(tangents)
        step = _STEP * _length(weights) / max(length, torch.finfo(torch.float32).tiny)
        ahead = {name: weights[name] + step * tangents[name] for name in weights}
        behind = {name: weights[name] - step * tangents[name] for name in weights}
        return (losses(ahead, rows) - losses(behind, rows)) / (2 * step)

    _load_decompositions()
    with torch.no_grad():
        try:
            return context.batches.cat(exact, context.n).detach()
        except NotImplementedError:
            return context.batches.cat(difference, context.n)


def _load_decompositions() -> None:
    """Import what torch imports on first use of forward differentiation: it warns of its own deprecated parts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        importlib.import_module("torch._decomp.decompositions_for_jvp")


def _length(vectors: Mapping[str, Tensor]) -> float:
    return float(torch.stack([vector.double().square().sum() for vector in vectors.values()]).sum().sqrt())
