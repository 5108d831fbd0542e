"""The layers whose norms are taken, with or without batch norm, as blocks of matrices: shared by the weight norms."""

import torch
from torch import Tensor
from torch.func import functional_call

from measurebench.measures.context import MeasureContext
from measurebench.measures.network.folding import (
    check_mode,
    double_state,
    folded_state,
    norm_blocks,
    scales,
)
from measurebench.measures.network.layers import (
    WeightLayer,
    is_normalization,
    squared_spectral_norms,
    uncounted_weights,
    weight_layers,
)
from measurebench.measures.network.structure import Structure, trace
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = [
    "BN_DEPARTURE",
    "BN_SUFFIX",
    "Blocks",
    "blocks_of",
    "check_fold",
    "initial_blocks",
    "layers_of",
    "log_sum",
    "squared_frobenius",
    "squared_spectral",
    "structure_of",
    "weight_value",
]

Blocks = dict[str, Tensor]
_LARGEST_MOVE = 1e-5

BN_SUFFIX = {"ignore": "", "fold": "_bn_folded", "layer": "_bn_layers"}
BN_DEPARTURE = (
    "Layers are chosen by the type of their module, so the affine weights of a shortcut's batch norm do not count."
    " Batch norm is left out by default, since that is defined for every network; bn=fold folds it where that is"
    " exact (traced, and the logits checked) and makes it a diagonal layer elsewhere, as in pre-activation networks,"
    " where public code folds in order of registration and changes the function."
)


def layers_of(context: MeasureContext) -> list[WeightLayer]:
    """Return the weight layers; raises UndefinedMeasureError where there is none."""
    layers = context.shared("weight layers", lambda: weight_layers(context.network))
    if not layers:
        raise UndefinedMeasureError("the network has no convolution, linear or attention layer")
    return layers


def structure_of(context: MeasureContext) -> Structure:
    """Return what feeds what, traced with the first image."""
    return context.shared("structure", lambda: trace(context.network, context.images[:1]))


def blocks_of(context: MeasureContext, bn: str) -> Blocks:
    """Return every layer's weight as blocks, float64 [groups, outputs, inputs * kernel], by name.

    ``bn``: ``ignore`` leaves batch norm out; ``fold`` folds it where that is exact and keeps it as a diagonal
    layer elsewhere; ``layer`` keeps every batch norm as a diagonal layer.
    """
    check_mode(bn)
    return context.shared(f"weights, bn={bn}", lambda: _blocks(context, bn))


def _blocks(context: MeasureContext, bn: str) -> Blocks:
    layers = layers_of(context)
    if bn == "ignore":
        return {layer.name: layer.blocks for layer in layers}
    structure = structure_of(context)
    if bn == "layer":
        return {layer.name: layer.blocks for layer in layers} | dict(norm_blocks(structure, list(structure.norms)))
    check_fold(context)
    factors = scales(structure)
    folded = {
        layer.name: layer.blocks * factors[layer.name].reshape(layer.groups, -1, 1)
        if layer.name in factors
        else layer.blocks
        for layer in layers
    }
    return folded | dict(norm_blocks(structure, structure.own_norms))


def check_fold(context: MeasureContext) -> float:
    """Return how far folding moves the logits, relative to the largest; raises UndefinedMeasureError above 1e-5."""

    def move() -> float:
        images = context.images[:4].double()
        state = folded_state(context.network, structure_of(context))
        with torch.no_grad():
            before = functional_call(context.network, double_state(context.network), (images,))
            after = functional_call(context.network, state, (images,))
        return float((before - after).abs().max() / before.abs().max().clamp_min(1.0))

    moved = context.shared("fold check", move)
    if moved > _LARGEST_MOVE:
        raise UndefinedMeasureError(f"folding batch norm would move the logits by {moved:.2g} of the largest")
    return moved


def squared_frobenius(blocks: Blocks) -> Tensor:
    """Return the squared Frobenius norm of every layer, float64 [layers]."""
    return torch.stack([block.square().sum() for block in blocks.values()])


def squared_spectral(context: MeasureContext, bn: str) -> Tensor:
    """Return the squared spectral norm of every layer's matrix, float64 [layers]: the largest over its blocks."""

    def norms() -> Tensor:
        return torch.stack([squared_spectral_norms(block).amax() for block in blocks_of(context, bn).values()])

    return context.shared(f"squared spectral norms, bn={bn}", norms)


def initial_blocks(context: MeasureContext) -> Blocks:
    """Return the weights at initialisation as blocks, by the names of the layers as they are now.

    Raises UndefinedMeasureError where they are not known or do not fit.
    """
    initial = {layer.name: layer.blocks for layer in weight_layers(context.initial_network)}
    now = {layer.name: layer.blocks for layer in layers_of(context)}
    if [block.shape for block in initial.values()] != [block.shape for block in now.values()]:
        raise UndefinedMeasureError("the network at initialisation has other layers than the network")
    return dict(zip(now, (block.to(context.images.device) for block in initial.values()), strict=True))


def log_sum(squares: Tensor, names: list[str]) -> float:
    """Return the sum of natural logarithms; raises UndefinedMeasureError for a layer whose norm is zero."""
    for name, square in zip(names, squares.tolist(), strict=True):
        if square == 0:
            raise UndefinedMeasureError(f"the weight of layer {name!r} is zero, so its logarithm does not exist")
    return float(squares.log().sum())


def weight_value(context: MeasureContext, value: float, bn: str = "ignore", **more: float | str) -> MeasureValue:
    """Return the value of a measure of weights alone, with the layers it counted and those it could not."""
    network = context.network
    other = [name for name, module in network.named_modules() if is_normalization(module)]
    diagnostics: dict[str, float | int | str | None] = {"n_layers": len(layers_of(context)), **more}
    if uncounted := uncounted_weights(network):
        diagnostics["not_counted"] = ", ".join(uncounted)
    if bn == "ignore":
        diagnostics["n_norms_ignored"] = len(other)
    else:
        structure = structure_of(context)
        diagnostics["n_norms_folded"] = len(structure.folds) if bn == "fold" else 0
        diagnostics["n_norms_as_layers"] = len(structure.own_norms if bn == "fold" else structure.norms)
        diagnostics["n_norms_ignored"] = len(other) - len(structure.norms)
    return MeasureValue(value, diagnostics=diagnostics, n=0).checked()
