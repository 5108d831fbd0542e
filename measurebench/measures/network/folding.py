"""Folds batch norm, which at inference is one scale and one shift per channel, into the layers before it.

If a batch norm is the only reader of a layer's output, the two become one layer: W' = scale * W and
b' = shift + scale * b, with scale = gamma / sqrt(var + eps) and shift = beta - scale * mean. Any other batch norm
remains a diagonal layer, as in pre-activation networks, where it cannot be folded backwards through a residual sum.
"""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd

from measurebench.core.errors import BadInputError
from measurebench.measures.network.layers import WeightLayer
from measurebench.measures.network.structure import Structure
from measurebench.measures.value import UndefinedMeasureError

__all__ = [
    "BatchNormMode",
    "State",
    "check_mode",
    "double_state",
    "folded_state",
    "norm_blocks",
    "scale_and_shift",
    "scaled",
    "scales",
    "set_norm",
]

BatchNormMode = Literal["ignore", "fold", "layer"]
State = dict[str, Tensor]


def check_mode(mode: str) -> None:
    """Raise BadInputError unless ``mode`` is ignore, fold or layer."""
    if mode not in get_args(BatchNormMode):
        raise BadInputError("bn", "ignore, fold or layer", repr(mode))


def scale_and_shift(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return scale and shift of a batch norm at inference, y = scale * x + shift, float64 [channels] each.

    Raises UndefinedMeasureError for a batch norm without running statistics, since it depends on the batch.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise UndefinedMeasureError("a batch norm without running statistics is not a fixed layer")
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    gamma = torch.ones_like(mean) if norm.weight is None else norm.weight.detach().double()
    beta = torch.zeros_like(mean) if norm.bias is None else norm.bias.detach().double()
    scale = gamma / torch.sqrt(variance + norm.eps)
    return scale, beta - scale * mean


def double_state(network: nn.Module) -> State:
    """Return parameters and buffers by name, detached; floating-point ones in float64."""
    state = dict(network.named_parameters()) | dict(network.named_buffers())
    return {name: (t.detach().double() if t.is_floating_point() else t) for name, t in state.items()}


def set_norm(state: State, name: str, norm: _BatchNorm, scale: Tensor, shift: Tensor) -> None:
    """Change ``state`` so that the batch norm computes y = scale * x + shift, for scale and shift [channels].

    A batch norm without parameters is set through its statistics, which needs a scale other than 0.
    """
    affine = norm.weight is not None and norm.bias is not None
    unit = torch.ones_like(scale)
    state[f"{name}.running_mean"] = torch.zeros_like(scale) if affine else -shift / scale
    state[f"{name}.running_var"] = (unit if affine else scale**-2) - norm.eps
    if affine:
        state[f"{name}.weight"], state[f"{name}.bias"] = scale, shift


def scaled(layer: WeightLayer, weight: Tensor, scale: Tensor) -> Tensor:
    """Return a layer's weight, in its own shape, with each output channel multiplied by its scale [outputs]."""
    if not isinstance(layer.module, _ConvTransposeNd):
        return weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
    grouped = weight.reshape(layer.groups, -1, *weight.shape[1:])
    factors = scale.reshape(layer.groups, 1, -1, *[1] * (weight.dim() - 2))
    return (grouped * factors).reshape(weight.shape)


def scales(structure: Structure) -> dict[str, Tensor]:
    """Return the scale [outputs] of the batch norm folded into each layer, by the layer's name."""
    found = {}
    for norm_name, sources in structure.folds.items():
        scale, _ = scale_and_shift(structure.norms[norm_name])
        found.update(dict.fromkeys(sources, scale))
    return found


def folded_state(network: nn.Module, structure: Structure, dtype: torch.dtype = torch.float64) -> State:
    """Return a state to call the network with, in ``dtype``, in which every foldable batch norm has been folded.

    The function of the network is unchanged; products are taken in float64. A folded batch norm only adds the bias b'
    of its layer, because such layers usually have no bias of their own. A bias that exists becomes zero, except where
    several layers share one batch norm: then each keeps its own, scaled. Tensors that nothing changes are the
    network's own.
    """
    state = {name: t.detach() for name, t in (*network.named_parameters(), *network.named_buffers())}
    by_name = {layer.name: layer for layer in structure.layers}
    for norm_name, sources in structure.folds.items():
        scale, shift = scale_and_shift(structure.norms[norm_name])
        for source in sources:
            layer = by_name[source]
            state[layer.parameter] = scaled(layer, state[layer.parameter].double(), scale).to(dtype)
            if isinstance(layer.module.bias, Tensor):
                name = _name_of(network, layer.module.bias)
                state[name] = scale * state[name].double()
                if len(sources) == 1:
                    shift, state[name] = shift + state[name], torch.zeros_like(shift)
        set_norm(state, norm_name, structure.norms[norm_name], torch.ones_like(scale), shift)
    return {name: t.to(dtype) if t.is_floating_point() else t for name, t in state.items()}


def _name_of(network: nn.Module, parameter: Tensor) -> str:
    return next(name for name, other in network.named_parameters() if other is parameter)


def norm_blocks(structure: Structure, names: list[str]) -> Mapping[str, Tensor]:
    """Return batch norms as diagonal layers, float64 [channels, 1, 1] each: one block per channel."""
    return {name: scale_and_shift(structure.norms[name])[0].reshape(-1, 1, 1) for name in names}
