"""Rewrites a network for a CPU: the same function, in fewer and faster operations.

Batch norm is folded into the layer before it, the scaling of images into the layer after it. Affine layers at the
beginning and at the end of a small network become one matrix product: on 8x8 images a convolution of four channels
takes twice as long as the product, and pooling before the last layer longer than the layer itself. Sums and ReLUs
overwrite what nothing else reads. Convolutions with a stride get a faster input gradient (see ``strided``). Subnormal
weights, which weight decay leaves behind and which slow a product down by a factor of up to a hundred, become 0. Linear
layers get their weights in the order in which a product with small batches reads them.
"""

import copy
import operator
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Interpreter, Node

from measurebench.attacks.standard.folding import fold, fold_scales, is_plain, traced
from measurebench.attacks.standard.strided import StridedConv2d, pays

__all__ = ["rewritten"]

# Entries of a matrix that replaces affine layers: beyond, the layers themselves are faster.
_LARGEST_MATRIX = 2**15
_AFFINE = (nn.Conv2d, nn.Linear, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity, nn.PixelUnshuffle)
_AFFINE_FUNCTIONS = (torch.flatten, F.avg_pool2d, F.adaptive_avg_pool2d, F.pixel_unshuffle)
_PRODUCTS = (nn.Conv2d, nn.Linear)
_RELUS = (F.relu, torch.relu)
_SUMS = (operator.add, torch.add)
# In float64: a chain that differs by more from the matrix made of it is not affine.
_EXACT = 1e-9


def rewritten(network: nn.Module, images: Tensor) -> nn.Module | None:
    """Return a network that computes the same on images like these [n, ...], with fewer operations.

    None where the network cannot be traced, nothing can be gained, or it is no float32 network on a CPU.
    """
    floats = [p for p in (*network.parameters(), *network.buffers()) if p.is_floating_point()]
    graph = traced(network) if all(p.dtype == torch.float32 and p.device.type == "cpu" for p in floats) else None
    if graph is None or images.dtype != torch.float32 or images.device.type != "cpu":
        return None
    changed = fold(graph) + fold_scales(graph)
    for chain in (_from_images(graph), _to_logits(graph)):
        changed += _made_dense(graph, chain, images)
    _store_by_input(graph)
    changed += _without_subnormals(graph) + _with_phases(graph) + _in_place(graph, images)
    graph.delete_all_unused_submodules()
    graph.graph.lint()
    graph.recompile()
    return graph.requires_grad_(False).eval() if changed else None


def _module(graph: GraphModule, node: Node) -> nn.Module | None:
    return graph.get_submodule(str(node.target)) if node.op == "call_module" else None


def _is_affine(graph: GraphModule, node: Node) -> bool:
    """Tell whether a node of one input is of a kind that is affine; what it computes is checked later."""
    module = _module(graph, node)
    kind = type(module) in _AFFINE and is_plain(module) if module else node.target in _AFFINE_FUNCTIONS
    return kind and len(node.all_input_nodes) == 1


def _from_images(graph: GraphModule) -> list[Node]:
    """Return the chain of affine nodes that begins at the images."""
    chain: list[Node] = []
    node = next(n for n in graph.graph.nodes if n.op == "placeholder")
    while len(node.users) == 1 and _is_affine(graph, node := next(iter(node.users))):
        chain.append(node)
    return chain


def _to_logits(graph: GraphModule) -> list[Node]:
    """Return the chain of affine nodes that ends at the logits."""
    chain: list[Node] = []
    node = next(n for n in graph.graph.nodes if n.op == "output")
    while len(node.all_input_nodes) == 1 and _is_affine(graph, node := node.all_input_nodes[0]):
        if len(node.users) > 1:
            break
        chain.append(node)
    return chain[::-1]


class _Shapes(Interpreter):
    """Runs a graph on one image and keeps the shape of every node's tensor."""

    def __init__(self, graph: GraphModule, images: Tensor) -> None:
        super().__init__(graph)
        self.of: dict[Node, torch.Size] = {}
        with torch.no_grad():
            self.run(images[:1])

    def run_node(self, n: Node) -> Any:
        """Run a node and keep its shape."""
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.of[n] = value.shape
        return value


def _made_dense(graph: GraphModule, chain: Sequence[Node], images: Tensor) -> bool:
    """Replace a chain by one matrix product where that is small enough; return whether it was replaced."""
    if len(chain) < 2 or not any(isinstance(_module(graph, node), _PRODUCTS) for node in chain):
        return False
    source, end = chain[0].all_input_nodes[0], chain[-1]
    shapes = _Shapes(graph, images).of
    inside, outside = shapes[source][1:], shapes[end][1:]
    layer = _matrix(graph, chain, inside) if inside.numel() * outside.numel() <= _LARGEST_MATRIX else None
    if layer is None:
        return False
    graph.add_submodule(name := f"dense_{end.name}", layer)
    with graph.graph.inserting_after(end):
        result = graph.graph.call_module(name)
    with graph.graph.inserting_before(result):
        result.args = (graph.graph.call_method("flatten", (source, 1)),)
    following = next(iter(end.users))
    # A ReLU before the reshaping can overwrite its input; after it, its gradient would take a detour.
    if len(outside) > 1 and len(end.users) == 1 and _is_relu(graph, following):
        with graph.graph.inserting_after(result):
            result = graph.graph.call_function(F.relu, (result,), {"inplace": True})
        end = following
    if len(outside) > 1:
        with graph.graph.inserting_after(result):
            result = graph.graph.call_method("reshape", (result, -1, *outside))
    end.replace_all_uses_with(result)
    graph.graph.eliminate_dead_code()
    return True


def _matrix(graph: GraphModule, chain: Sequence[Node], inside: Sequence[int]) -> nn.Linear | None:
    """Return the layer that computes what the chain does on inputs [n, *inside], or None where it is not affine."""
    part = Graph()
    known = {chain[0].all_input_nodes[0]: part.placeholder("inputs")}
    for node in chain:
        known[node] = part.node_copy(node, lambda n: known[n])
    part.output(known[chain[-1]])
    function = GraphModule(copy.deepcopy(graph).double(), part)
    with torch.no_grad():
        unit = torch.eye(torch.Size(inside).numel(), dtype=torch.float64)
        bias = function(torch.zeros(1, *inside, dtype=torch.float64)).flatten()
        matrix = function(unit.reshape(-1, *inside)).flatten(1) - bias
        points = torch.linspace(-3.0, 3.0, 4 * len(unit), dtype=torch.float64).cos().reshape(4, -1)
        difference = function(points.reshape(-1, *inside)).flatten(1) - (points @ matrix + bias)
    if not bool(difference.abs().amax() <= _EXACT * (1 + matrix.abs().sum())):
        return None
    layer = nn.Linear(len(unit), len(bias))
    layer.weight.data, layer.bias.data = matrix.T.float().contiguous(), bias.float()
    return layer


def _is_relu(graph: GraphModule, node: Node) -> bool:
    module = _module(graph, node)
    return type(module) is nn.ReLU and is_plain(module) if module else node.target in _RELUS


def _without_subnormals(graph: GraphModule) -> int:
    """Set the subnormal weights to 0, which moves no output by more than 1e-38 of an input; return how many were."""
    n_changed = 0
    for tensor in (*graph.parameters(), *graph.buffers()):
        if tensor.is_floating_point():
            subnormal = (tensor != 0) & (tensor.abs() < torch.finfo(tensor.dtype).tiny)
            tensor.data.masked_fill_(subnormal, 0.0)
            n_changed += int(subnormal.sum())
    return n_changed


def _store_by_input(graph: GraphModule) -> None:
    """Store the weights of linear layers input by input.

    For 19 images 2048 x 100 weights then took 65 microseconds instead of 208, for 85 images 255 instead of 400.
    """
    for layer in graph.modules():
        if type(layer) is nn.Linear and is_plain(layer):
            layer.weight.data = layer.weight.data.T.contiguous().T


def _with_phases(graph: GraphModule) -> int:
    """Give convolutions with a stride a faster input gradient; return how many got one."""
    found = [
        (str(node.target), layer)
        for node in graph.graph.nodes
        if type(layer := _module(graph, node)) is nn.Conv2d and is_plain(layer) and pays(layer)
    ]
    for target, layer in dict(found).items():
        parent, _, name = target.rpartition(".")
        setattr(graph.get_submodule(parent) if parent else graph, name, StridedConv2d(layer))
    return len(found)


def _in_place(graph: GraphModule, images: Tensor) -> int:
    """Let sums and ReLUs overwrite the fresh result of a layer or sum that nothing else reads; return how many do."""
    shapes = _Shapes(graph, images).of
    layers = (*_PRODUCTS, StridedConv2d)
    fresh = {n for n in graph.graph.nodes if type(_module(graph, n)) in layers and len(n.users) == 1}
    n_changed = 0
    for node in list(graph.graph.nodes):
        first = node.all_input_nodes[0] if node.all_input_nodes else None
        if node.op == "call_function" and node.target in _SUMS and len(node.args) == 2 and not node.kwargs:
            first = next((arg for arg in node.args if arg in fresh and shapes.get(arg) == shapes.get(node)), None)
            others = [arg for arg in node.args if arg is not first]
            if first is not None and len(others) == 1 and isinstance(others[0], Node):
                node.op, node.target, node.args = "call_method", "add_", (first, others[0])
                n_changed += 1
        elif _is_relu(graph, node) and first in fresh:
            node.op, node.target, node.args, node.kwargs = "call_function", F.relu, (first,), {"inplace": True}
            n_changed += 1
        else:
            continue
        if len(node.users) == 1 and node.op != "call_module":
            fresh.add(node)
    return n_changed
