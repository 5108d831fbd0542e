"""Path norm: the squared weights of all paths from an input to an output, summed by one forward pass."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from measurebench.core.info import MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.network.blocks import check_fold, layers_of, structure_of, weight_value
from measurebench.measures.network.folding import State, double_state, folded_state, scale_and_shift, set_norm
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue, UndefinedMeasureError

__all__ = ["PathNorm", "squared_state"]

_ACTIVATIONS = frozenset(
    [
        "relu",
        "relu_",
        "relu6",
        "leaky_relu",
        "leaky_relu_",
        "elu",
        "elu_",
        "selu",
        "selu_",
        "celu",
        "celu_",
        "gelu",
        "silu",
        "mish",
        "softplus",
        "tanh",
        "hardtanh",
        "hardtanh_",
        "hardswish",
        "hardsigmoid",
        "prelu",
        "rrelu",
        "softsign",
        "logsigmoid",
        "tanhshrink",
        "hardshrink",
        "softshrink",
        "threshold",
        "threshold_",
        "abs",
        "neg",
        "clamp",
        "clamp_",
        "clamp_min",
        "clamp_min_",
        "clip",
        "relu6_",
    ]
)
_AFFINE = frozenset(
    [
        "sub",
        "add",
        "mul",
        "div",
        "true_divide",
        "rsub",
        "sub_",
        "add_",
        "mul_",
        "div_",
        "__rsub__",
        "__radd__",
        "__rmul__",
    ]
)
_PRODUCTS = frozenset(
    [
        "mul",
        "mul_",
        "matmul",
        "bmm",
        "einsum",
        "div",
        "div_",
        "true_divide",
        "baddbmm",
        "__matmul__",
    ]
)
_UNDEFINED = frozenset(
    [
        "layer_norm",
        "group_norm",
        "instance_norm",
        "rms_norm",
        "local_response_norm",
        "softmax",
        "log_softmax",
        "normalize",
        "scaled_dot_product_attention",
        "multi_head_attention_forward",
        "_native_multi_head_attention",
        "_transformer_encoder_layer_fwd",
    ]
)


class _Paths(TorchFunctionMode):
    """Lets an all-ones image pass as sums over paths.

    Activations pass what they are given (a path has weights only); arithmetic with constants before the first
    weight is input normalisation and is left out; what mixes paths other than by sums is an error.
    """

    def __init__(self, image: Tensor, parameters: list[Tensor]) -> None:
        super().__init__()
        self.alive = [image]  # an id names a tensor only as long as the tensor lives
        self.data, self.at_input = {id(image)}, {id(image)}
        self.parameters = {id(parameter) for parameter in parameters}
        self.gates: dict[int, int] = {}

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        tensors = [leaf for leaf in tree_leaves([args, kwargs]) if isinstance(leaf, Tensor)]
        data = [tensor for tensor in tensors if id(tensor) in self.data]
        at_input = bool(data) and all(id(tensor) in self.at_input for tensor in data)
        at_input = at_input and not any(id(tensor) in self.parameters for tensor in tensors)
        shortcut = self._shortcut(name, data, at_input)
        result = func(*args, **(kwargs or {})) if shortcut is None else shortcut
        for leaf in tree_leaves(result) if data else ():
            if isinstance(leaf, Tensor):
                self._mark(leaf, name, data, at_input)
        return result

    def _shortcut(self, name: str, data: list[Tensor], at_input: bool) -> Tensor | None:
        """Return what a call gives where it is not carried out; raise where path norm has no meaning."""
        if not data:
            return None
        if name in _UNDEFINED:
            raise UndefinedMeasureError(f"path norm is not defined for networks with {name}")
        if name in _ACTIVATIONS or (at_input and name in _AFFINE and len(data) == 1):
            return data[0]
        if name in ("sigmoid", "sigmoid_"):
            return data[0].clone()
        if name in ("sub", "sub_", "rsub") and len(data) > 1:
            return data[0] + data[1]
        if name in _PRODUCTS and len(data) > 1:
            gated = [x for x in data if any(self.gates.get(id(gate)) == id(x) for gate in data)]
            if not gated:
                raise UndefinedMeasureError(f"path norm is not defined where activations are multiplied ({name})")
            return gated[0]
        return None

    def _mark(self, result: Tensor, name: str, data: list[Tensor], at_input: bool) -> None:
        self.alive.append(result)
        self.data.add(id(result))
        if name in ("sigmoid", "sigmoid_"):
            self.gates[id(result)] = id(data[0])
        if at_input:
            self.at_input.add(id(result))
        else:
            self.at_input.discard(id(result))


def squared_state(context: MeasureContext, bn: str) -> State:
    """Return the state of the network with every weight and bias squared, float64.

    Batch norm is folded where that is exact (``fold``), and its scale and shift are squared elsewhere.
    """
    structure, network = structure_of(context), context.network
    computed = [layer.name for layer in layers_of(context) if not layer.parameter]
    if computed:
        raise UndefinedMeasureError(f"path norm needs plain weights; that of layer {computed[0]!r} is computed")
    state = folded_state(network, structure) if bn == "fold" else double_state(network)
    affine = {}
    for name, norm in structure.norms.items():
        if bn == "fold" and name in structure.folds:
            affine[name] = _remaining(state, name, norm.eps)
        else:
            affine[name] = scale_and_shift(norm)
    for name, _ in network.named_parameters():
        state[name] = state[name].square()
    for name, (scale, shift) in affine.items():
        set_norm(state, name, structure.norms[name], scale.square(), shift.square())
    return state


def _remaining(state: State, name: str, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return scale and shift of a batch norm as a state holds them."""
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    scale = state.get(f"{name}.weight", torch.ones_like(mean)) / torch.sqrt(variance + epsilon)
    return scale, state.get(f"{name}.bias", torch.zeros_like(mean)) - scale * mean


@register()
@register(log=True)
@dataclass(frozen=True)
class PathNorm:
    """Sum of the network's outputs for an all-ones image, every weight and bias squared; or its logarithm."""

    log: bool = False
    bn: str = "fold"

    @property
    def info(self) -> MeasureInfo:
        """Info of the norm or its logarithm."""
        suffix = "" if self.bn == "fold" else "_bn_layers"
        return MeasureInfo(
            id=f"{'log_' if self.log else ''}path_norm{suffix}",
            title="Path norm (log)" if self.log else "Path norm",
            family="weights",
            unit="nats" if self.log else "weight^2 products",
            formula=f"{'log ' if self.log else ''}sum_k f_{{W^2, b^2}}(1)_k",
            source="Neyshabur et al. 2015; Dziugaite et al. 2020, PATH_NORM",
            hypothesis="+",
            inputs=("weights",),
            cost="one image",
            tier="extended" if self.log else "core",
            explanation="Sum over all paths from an input to an output of the product of squared weights.",
            properties=("rescale_invariant",),
            departures="Input normalisation is left out and activations pass what they are given, so that ones enter"
            " the first layer and every path counts. Batch norm is folded where that is exact; elsewhere its squared"
            " scale and shift take its place. Pooling stays as it is. float64. Undefined for networks that normalise"
            " by layer or group, attend, or multiply activations.",
        )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the sum of outputs; undefined where the network mixes paths other than by sums."""
        if self.bn == "ignore":
            raise UndefinedMeasureError("path norm cannot ignore batch norm: it is part of every path (fold or layer)")
        total = context.shared(f"path norm, bn={self.bn}", lambda: self._sum_over_paths(context))
        if self.log and total <= 0:
            raise UndefinedMeasureError("no path has a weight: the logarithm does not exist")
        return weight_value(context, math.log(total) if self.log and math.isfinite(total) else total, self.bn)

    def _sum_over_paths(self, context: MeasureContext) -> float:
        if self.bn == "fold":
            check_fold(context)
        state = squared_state(context, self.bn)
        ones = torch.ones_like(context.images[:1], dtype=torch.float64)
        parameters = [state[name] for name, _ in context.network.named_parameters()]
        with torch.no_grad(), _Paths(ones, parameters):
            outputs: Tensor = functional_call(context.network, state, (ones,))
        return float(outputs.sum())
