"""The weight layers of a network, selected by the type of their module and never by name.

A weight layer is a trained linear map: a convolution, a transposed convolution, a linear layer, or one of the query,
key and value projections of an attention. Normalisation layers are not weight layers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

__all__ = [
    "NORMALIZATIONS",
    "WeightLayer",
    "is_normalization",
    "parameter_names",
    "squared_spectral_norms",
    "uncounted_weights",
    "weight_layers",
]

NORMALIZATIONS: tuple[type[nn.Module], ...] = (
    _BatchNorm,
    _InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.RMSNorm,
)


@dataclass(frozen=True)
class WeightLayer:
    """One weight layer, with its ``weight`` detached and in the shape that its module uses.

    ``parameter`` is the name of the network's parameter that holds the weight; it is empty if the weight is computed
    from other parameters (weight norm, parametrisations). ``rows`` selects a part of that parameter, for an attention
    that keeps its three projections in one. A layer with groups is a block diagonal matrix.
    """

    name: str
    module: nn.Module
    parameter: str
    weight: Tensor
    rows: slice | None = None

    @property
    def groups(self) -> int:
        """Number of diagonal blocks."""
        return self.module.groups if isinstance(self.module, _ConvNd) else 1

    @property
    def n_out(self) -> int:
        """Number of output channels."""
        return self.module.out_channels if isinstance(self.module, _ConvNd) else len(self.weight)

    @property
    def blocks(self) -> Tensor:
        """The weight as diagonal blocks, float64 [groups, outputs, inputs * kernel], one row per output channel."""
        weight = self.weight.double()
        if isinstance(self.module, _ConvTransposeNd):
            grouped = weight.reshape(self.groups, len(weight) // self.groups, *weight.shape[1:])
            weight = grouped.transpose(1, 2)
        return weight.reshape(self.groups, self.n_out // self.groups, -1)

    @property
    def matrix(self) -> Tensor:
        """The weight as a matrix, float64 [outputs, inputs per group * kernel], one row per output channel."""
        return self.blocks.flatten(0, 1)


def weight_layers(network: nn.Module) -> list[WeightLayer]:
    """Return the weight layers in order of registration; a tied weight appears once, under its first name.

    >>> [layer.name for layer in weight_layers(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)))]
    ['0', '2']
    """
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    seen: set[tuple[int, int]] = set()
    layers = []
    for module_name, module in network.named_modules():
        for suffix, weight, rows in _weights(module):
            key = (id(weight), rows.start if rows else 0)
            if key in seen:
                continue
            seen.add(key)
            part = weight.detach() if rows is None else weight.detach()[rows]
            layers.append(WeightLayer(module_name + suffix, module, names.get(id(weight), ""), part, rows))
    return layers


def _weights(module: nn.Module) -> Iterator[tuple[str, Tensor, slice | None]]:
    """Yield the weights that a module applies itself: a suffix for its name, the tensor, and its rows."""
    if isinstance(module, (_ConvNd, nn.Linear)) and isinstance(module.weight, Tensor):
        yield "", module.weight, None
    elif isinstance(module, nn.MultiheadAttention):
        if module.in_proj_weight is not None:
            width = module.embed_dim
            for index, kind in enumerate("qkv"):
                yield f".{kind}", module.in_proj_weight, slice(index * width, (index + 1) * width)
        else:
            for kind in "qkv":
                yield f".{kind}", getattr(module, f"{kind}_proj_weight"), None


def is_normalization(module: nn.Module) -> bool:
    """Return whether a module normalises: a known type, or one named ``...Norm...`` that owns only vectors."""
    if isinstance(module, NORMALIZATIONS):
        return True
    own = list(module.parameters(recurse=False))
    vectors = all(parameter.numel() == max(parameter.shape, default=1) for parameter in own)
    return "norm" in type(module).__name__.lower() and bool(own) and vectors


def parameter_names(network: nn.Module, normalization: bool = False) -> list[str]:
    """Return the names of the parameters, tied ones once; those of normalisation layers only on request."""
    inside = {
        id(parameter)
        for module in network.modules()
        if is_normalization(module)
        for parameter in module.parameters(recurse=False)
    }
    return [name for name, parameter in network.named_parameters() if normalization or id(parameter) not in inside]


def uncounted_weights(network: nn.Module) -> list[str]:
    """Return the names of parameters with two or more axes that are not the weight of a layer (tokens, positions)."""
    counted = {layer.parameter for layer in weight_layers(network)}
    return [
        name
        for name in parameter_names(network)
        if name not in counted and (value := network.get_parameter(name)).dim() > 1 and min(value.shape) > 0
    ]


def squared_spectral_norms(blocks: Tensor) -> Tensor:
    """Return the largest squared singular value [...] of each matrix [..., o, m], from its smaller Gram matrix.

    This is accurate for the largest singular value: the relative error is that of the product, about o * 1e-16.

    >>> squared_spectral_norms(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor(16.)
    """
    short = blocks if blocks.shape[-2] <= blocks.shape[-1] else blocks.mT
    eigenvalues: Tensor = torch.linalg.eigvalsh(short @ short.mH)
    return eigenvalues[..., -1].clamp_min(0)
