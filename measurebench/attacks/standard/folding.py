"""Batch norm and scaling folded into the layer beside them, for a network that computes the same and passes faster."""

import copy
import operator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node, symbolic_trace
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

__all__ = ["fold", "fold_scales", "folded", "is_plain", "traced"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def folded(network: nn.Module) -> nn.Module | None:
    """Return a copy in which every batch norm that alone reads a convolution's or a linear layer's output is folded.

    None where the network cannot be traced (its path depends on the data) or nothing can be folded.
    """
    graph = traced(network)
    if graph is None or not fold(graph):
        return None
    graph.graph.lint()
    graph.recompile()
    return graph.requires_grad_(False).eval()


def traced(network: nn.Module) -> GraphModule | None:
    """Return a copy of the network in evaluation mode as a graph, or None where its path depends on the data."""
    try:
        return symbolic_trace(copy.deepcopy(network).eval())
    except Exception:  # noqa: BLE001  whatever a network's own code raises on symbols, it just cannot be folded
        return None


def fold(graph: GraphModule) -> int:
    """Fold every batch norm of the graph that can be, and return how many were."""
    n_folded = 0
    while (pair := _next_pair(graph)) is not None:
        _fold(graph, *pair)
        n_folded += 1
    if n_folded:
        graph.delete_all_unused_submodules()
    return n_folded


def is_plain(module: nn.Module) -> bool:
    """Tell whether a module has neither hooks nor parametrized weights, which would compute something else."""
    return not (module._forward_hooks or module._forward_pre_hooks or hasattr(module, "parametrizations"))


def _next_pair(traced: GraphModule) -> tuple[Node, Node] | None:
    """Return the first layer and batch norm that can be joined."""
    modules = dict(traced.named_modules())
    calls: dict[Any, int] = {}
    for node in traced.graph.nodes:
        if node.op == "call_module":
            calls[node.target] = calls.get(node.target, 0) + 1
    pairs = (_pair(node, modules, calls) for node in traced.graph.nodes)
    return next((pair for pair in pairs if pair is not None), None)


def _pair(node: Node, modules: dict[str, nn.Module], calls: dict[Any, int]) -> tuple[Node, Node] | None:
    """Return the layer and the batch norm after it, where the one can take up the other."""
    if node.op != "call_module" or not isinstance(modules[str(node.target)], _BatchNorm):
        return None
    before = node.args[0] if node.args else None
    if not isinstance(before, Node) or before.op != "call_module" or len(before.users) > 1:
        return None
    norm, layer = modules[str(node.target)], modules[str(before.target)]
    fixed = isinstance(norm, _BatchNorm) and norm.running_mean is not None
    # A subclass may compute something else; a module called twice has another use for its weights.
    plain = type(layer) in (*_CONVOLUTIONS, nn.Linear) and calls[node.target] == calls[before.target] == 1
    return (before, node) if fixed and plain and is_plain(norm) and is_plain(layer) else None


def _fold(traced: GraphModule, before: Node, node: Node) -> None:
    """Give the layer what the batch norm does, computed in float64, and take the batch norm out."""
    layer, norm = (traced.get_submodule(str(call.target)) for call in (before, node))
    assert isinstance(norm, _BatchNorm)
    weight = layer.get_parameter("weight")
    dtype = weight.dtype
    fuse: Any = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
    joined = fuse(copy.deepcopy(layer).double(), copy.deepcopy(norm).double()).to(dtype)
    _take_out(traced, node, before, str(before.target), joined)


def _take_out(graph: GraphModule, node: Node, instead: Node, target: str, layer: nn.Module) -> None:
    """Put a layer in the place of ``target``, and take out a node for which another stands from now on."""
    parent, _, name = target.rpartition(".")
    setattr(graph.get_submodule(parent) if parent else graph, name, layer)
    node.replace_all_uses_with(instead)
    graph.graph.erase_node(node)


def fold_scales(graph: GraphModule) -> int:
    """Fold divisions of channels by constants into the convolution that alone reads the result; return how many were.

    The normalisation of images divides so. Padding stays as it is, since 0 divided is 0.
    """
    found = [(node, scale) for node in graph.graph.nodes if (scale := _scale(graph, node)) is not None]
    for node, scale in found:
        target = str(next(iter(node.users)).target)
        layer = copy.deepcopy(graph.get_submodule(target))
        weight = layer.get_parameter("weight")
        weight.data = (weight.data.double() / scale.double().reshape(1, -1, 1, 1)).to(weight.dtype)
        divided = node.args[0]
        assert isinstance(divided, Node)
        _take_out(graph, node, divided, target, layer)
    return len(found)


def _scale(graph: GraphModule, node: Node) -> Tensor | None:
    """Return by what a node divides channels, [1] or [C], if the layer after it can do that; None otherwise."""
    dividing = node.op == "call_function" and node.target in (operator.truediv, torch.div)
    if not dividing or len(node.args) != 2 or node.kwargs or len(node.users) != 1:
        return None
    divided, constant, user = *node.args, next(iter(node.users))
    if (
        not isinstance(divided, Node)
        or not isinstance(constant, Node)
        or constant.op != "get_attr"
        or user.op != "call_module"
    ):
        return None
    layer = graph.get_submodule(str(user.target))
    once = [n for n in graph.graph.nodes if n.op == "call_module" and graph.get_submodule(str(n.target)) is layer]
    plain = type(layer) is nn.Conv2d and layer.groups == 1 and is_plain(layer) and len(once) == 1
    parent, _, name = str(constant.target).rpartition(".")
    scale = getattr(graph.get_submodule(parent), name)
    by_channel = plain and isinstance(scale, Tensor) and scale.shape in ((1, 1, 1), (layer.in_channels, 1, 1))
    return scale.detach().flatten() if by_channel and bool((scale != 0).all()) else None
