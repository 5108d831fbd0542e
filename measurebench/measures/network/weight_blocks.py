"""The weights of all layers as blocks of matrices, with or without batch norm: shared by the weight norms."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from measurebench.measures.context import MeasureContext
from measurebench.measures.network.exchange import call_with
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
from measurebench.measures.network.lengths import squared_lengths
from measurebench.measures.network.structure import Structure, trace
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = [
    "BN_DEPARTURE",
    "BN_SUFFIX",
    "Blocks",
    "blocks_of",
    "check_fold",
    "initial_blocks",
    "initial_layers",
    "layers_of",
    "log_sum",
    "squared_frobenius",
    "squared_spectral",
    "structure_of",
    "weight_value",
]

Blocks = Mapping[str, Tensor]
# A correct fold moves float64 logits by rounding only; a fold that changes the function moves them by far more.
_LARGEST_MOVE = 1e-5

BN_SUFFIX = {"ignore": "", "fold": "_bn_folded", "layer": "_bn_layers"}
BN_DEPARTURE = (
    "Layers are selected by the type of their module, so the affine weights of a shortcut's batch norm are not counted."
    " Batch norm is left out by default, since this is possible for every network. With bn=fold, batch norm is folded"
    " into its layer where that is exact, which a trace and a check of the logits establish; elsewhere, as in"
    " pre-activation networks, it is a diagonal layer. The public code folds in the order of registration, which"
    " changes the function of such networks."
)


class _LayerBlocks(Mapping[str, Tensor]):
    """The blocks of layers by name, converted to float64 when they are read and kept nowhere."""

    def __init__(self, layers: list[WeightLayer]) -> None:
        self.layers = {layer.name: layer for layer in layers}

    def __getitem__(self, name: str) -> Tensor:
        return self.layers[name].blocks

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)


def layers_of(context: MeasureContext) -> list[WeightLayer]:
    """Return the weight layers of the network; raises UndefinedMeasureError if it has none."""
    layers = context.shared("weight layers", lambda: weight_layers(context.network))
    if not layers:
        raise UndefinedMeasureError("the network has no convolution, linear or attention layer")
    return layers


def structure_of(context: MeasureContext) -> Structure:
    """Return the structure of the network, traced with the first image."""
    return context.shared("structure", lambda: trace(context.network, context.images[:1]))


def blocks_of(context: MeasureContext, bn: str) -> Blocks:
    """Return every layer's weight as blocks, float64 [groups, outputs, inputs * kernel], by name.

    Blocks without batch norm are converted to float64 each time they are read, so that no copy of the network is kept.

    ``bn``: ``ignore`` leaves batch norm out; ``fold`` folds it where that is exact and otherwise keeps it as a
    diagonal layer; ``layer`` keeps every batch norm as a diagonal layer.
    """
    check_mode(bn)
    return context.shared(f"weights, bn={bn}", lambda: _blocks(context, bn))


def _blocks(context: MeasureContext, bn: str) -> Blocks:
    layers = layers_of(context)
    if bn == "ignore":
        return _LayerBlocks(layers)
    structure = structure_of(context)
    if bn == "layer":
        return dict(_LayerBlocks(layers)) | dict(norm_blocks(structure, list(structure.norms)))
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
    """Return the change of the logits by folding, relative to the largest; raises UndefinedMeasureError above 1e-5."""

    def move() -> float:
        images = context.images[:4].double()
        state = folded_state(context.network, structure_of(context))
        with torch.no_grad():
            before = call_with(context.network, double_state(context.network), images)
            after = call_with(context.network, state, images)
        return float((before - after).abs().max() / before.abs().max().clamp_min(1.0))

    moved = context.shared("fold check", move)
    if moved > _LARGEST_MOVE:
        raise UndefinedMeasureError(f"folding batch norm would move the logits by {moved:.2g} of the largest")
    return moved


def squared_frobenius(blocks: Blocks) -> Tensor:
    """Return the squared Frobenius norm of every layer, float64 [layers]."""
    if isinstance(blocks, _LayerBlocks):  # the order of the entries does not matter, nor does their precision
        return squared_lengths(layer.weight for layer in blocks.layers.values())
    return squared_lengths(blocks.values())


def squared_spectral(context: MeasureContext, bn: str) -> Tensor:
    """Return the squared spectral norm of every layer, float64 [layers]: the largest among its blocks."""

    def norms() -> Tensor:
        return torch.stack([squared_spectral_norms(block).amax() for block in blocks_of(context, bn).values()])

    return context.shared(f"squared spectral norms, bn={bn}", norms)


def initial_blocks(context: MeasureContext) -> Blocks:
    """Return the initial weights as blocks [groups, outputs, inputs * kernel], by the names of the present layers.

    Raises UndefinedMeasureError if they are not known or their shapes differ.
    """
    return _LayerBlocks(initial_layers(context))


def initial_layers(context: MeasureContext) -> list[WeightLayer]:
    """Return the layers of the initial network, on the images' device, under the names of the present layers.

    Raises UndefinedMeasureError if they are not known or their shapes differ.
    """
    initial, now = weight_layers(context.initial_network), layers_of(context)
    if [_shape(layer) for layer in initial] != [_shape(layer) for layer in now]:
        raise UndefinedMeasureError("the initial network and the network have different layers")
    device = context.images.device
    pairs = zip(initial, now, strict=True)
    return [replace(layer, name=present.name, weight=layer.weight.to(device)) for layer, present in pairs]


def _shape(layer: WeightLayer) -> tuple[int, ...]:
    """Return the shape of a layer's blocks: groups, outputs, inputs * kernel."""
    n_out = layer.n_out // layer.groups
    return layer.groups, n_out, layer.weight.numel() // max(1, layer.groups * n_out)


def log_sum(squares: Tensor, names: list[str]) -> float:
    """Return the sum of the natural logarithms of squared norms [layers].

    Raises UndefinedMeasureError for a norm of zero, with the name of its layer.

    >>> round(log_sum(torch.tensor([1.0, 25.0]), ["first", "second"]), 4)
    3.2189
    """
    for name, square in zip(names, squares.tolist(), strict=True):
        if square == 0:
            raise UndefinedMeasureError(f"the weight of layer {name!r} is zero, so its logarithm does not exist")
    return float(squares.log().sum())


def weight_value(context: MeasureContext, value: float, bn: str = "ignore", **more: float | str) -> MeasureValue:
    """Return the value of a measure that reads only weights; diagnostics list the layers that were counted or not."""
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
