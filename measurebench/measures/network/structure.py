"""Traces which layer reads which output, by passing one image through the network.

The trace records every call of a torch function and of a weight or batch norm layer, with the tensors that it reads
and returns, so that functional code is traced as well as modules. It gives the input size of every layer and the batch
norms that can be folded exactly into the layers before them.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from measurebench.measures.network.layers import WeightLayer, weight_layers

__all__ = ["Structure", "trace"]

_LAYER_FUNCTIONS = frozenset(
    ["linear", "batch_norm", "conv1d", "conv2d", "conv3d"] + [f"conv_transpose{axes}d" for axes in (1, 2, 3)]
)


@dataclass(frozen=True)
class Structure:
    """The layers of a network and how they are connected.

    ``input_shapes`` maps a layer's name to the input shapes (without the batch axis) of its calls; it is empty for a
    layer that was not called. ``norms`` are the batch norms that were called. ``folds`` maps each batch norm that can
    be folded to the names of the layers whose output is read by this batch norm and by nothing else.
    """

    layers: tuple[WeightLayer, ...]
    input_shapes: Mapping[str, tuple[tuple[int, ...], ...]]
    norms: Mapping[str, _BatchNorm]
    folds: Mapping[str, tuple[str, ...]]

    @property
    def own_norms(self) -> list[str]:
        """The names of the batch norms that cannot be folded."""
        return [name for name in self.norms if name not in self.folds]


@dataclass(frozen=True)
class _Call:
    """One call of a layer: what it read and what it returned."""

    name: str
    input: Tensor
    output: Tensor


class _Watch(TorchFunctionMode):
    """Records the calls of layers and counts the readers of each tensor.

    ``names`` maps the id of a tensor (a weight, or the mean of a batch norm) to the layer that owns it.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()
        self.names = names
        self.depth = 0  # above 0 inside a layer's module, whose hooks record the call
        self.calls: list[_Call] = []
        self.readers: dict[int, int] = {}
        self.alive: list[Tensor] = []  # Python may reuse the id of a tensor that has been freed

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        outputs = _tensors(result)
        if self.depth or not outputs:
            return result
        read = _tensors([args, kwargs])
        self.see(read, outputs)
        owners = [self.names[id(tensor)] for tensor in read if id(tensor) in self.names]
        if owners and len(outputs) == 1 and getattr(func, "__name__", "") in _LAYER_FUNCTIONS:
            self.calls.append(_Call(owners[0], read[0], outputs[0]))
        return result

    def see(self, read: list[Tensor], made: list[Tensor]) -> None:
        """Record that the tensors ``read``, of any shape, were read to compute the tensors ``made``."""
        for tensor in read:
            self.readers[id(tensor)] = self.readers.get(id(tensor), 0) + 1
        self.alive += [*read, *made]


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


@contextmanager
def _hooks(watch: _Watch, names: Mapping[nn.Module, str]) -> Iterator[None]:
    """Record the start and the end of every call of a layer's module."""

    def before(_module: nn.Module, _inputs: Any) -> None:
        watch.depth += 1

    def after(module: nn.Module, inputs: Any, output: Any) -> None:
        watch.depth -= 1
        watch.see(_tensors(inputs), _tensors(output))
        watch.calls.append(_Call(names[module], _tensors(inputs)[0], output))

    handles = [module.register_forward_pre_hook(before) for module in names]
    handles += [module.register_forward_hook(after) for module in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def trace(network: nn.Module, image: Tensor) -> Structure:
    """Return the structure of a network in evaluation mode, traced with one ``image`` [1, ...]."""
    layers = weight_layers(network)
    norms = {name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)}
    owned = {id(network.get_parameter(layer.parameter)): layer.name for layer in layers if layer.parameter}
    named = {layer.module: layer.name for layer in layers if not isinstance(layer.module, nn.MultiheadAttention)}
    for name, module in network.named_modules():  # the other modules of a tied weight
        if isinstance(module, (_ConvNd, nn.Linear)) and module not in named:
            named[module] = owned.get(id(module.weight), name)
    named |= {module: name for name, module in norms.items()}
    owned |= {id(module.running_mean): name for name, module in norms.items() if module.running_mean is not None}
    watch = _Watch(owned)
    with torch.no_grad(), _hooks(watch, named), watch:
        output = network(image)
    watch.see(_tensors(output), [])
    return _structure(layers, norms, watch)


def _structure(layers: list[WeightLayer], norms: Mapping[str, _BatchNorm], watch: _Watch) -> Structure:
    shapes: dict[str, list[tuple[int, ...]]] = {layer.name: [] for layer in layers}
    for call in watch.calls:
        shape = tuple(call.input.shape[1:])
        if call.name in shapes and shape not in shapes[call.name]:
            shapes[call.name].append(shape)
    called = {name: norm for name, norm in norms.items() if any(call.name == name for call in watch.calls)}
    return Structure(
        tuple(layers),
        {name: tuple(found) for name, found in shapes.items()},
        called,
        _folds({layer.name: layer for layer in layers}, called, watch),
    )


def _folds(
    layers: Mapping[str, WeightLayer], norms: Mapping[str, _BatchNorm], watch: _Watch
) -> dict[str, tuple[str, ...]]:
    """Return the batch norms that are the only readers of their layers' outputs, with the names of these layers.

    All calls must agree: a layer that is called twice must be read by the same batch norm twice, and that batch norm
    may read no other tensor.
    """
    makers = {id(call.output): call.name for call in watch.calls if call.name in layers}
    feeds: dict[str, set[str]] = {}
    for call in watch.calls:
        if call.name in norms:
            feeds.setdefault(call.name, set()).add(makers.get(id(call.input), ""))
    folds = {}
    for name, sources in feeds.items():
        calls = [call for call in watch.calls if call.name in sources]
        inputs = {id(call.input) for call in watch.calls if call.name == name}
        alone = all(id(call.output) in inputs and watch.readers.get(id(call.output)) == 1 for call in calls)
        if calls and "" not in sources and alone and all(_foldable(layers[s], norms[name]) for s in sources):
            folds[name] = tuple(sorted(sources))
    return folds


def _foldable(layer: WeightLayer, norm: _BatchNorm) -> bool:
    """Return whether the layer's output channels are those of the norm and its weight is a parameter of its own."""
    plain = bool(layer.parameter) and layer.rows is None and norm.running_mean is not None
    return plain and layer.n_out == norm.num_features
