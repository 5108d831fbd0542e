"""Path norm: the squared weights of all paths from an input to an output, summed by one forward pass."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from measurebench.core.info import MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.network.exchange import call_with
from measurebench.measures.network.folding import State, folded_state, scale_and_shift, set_norm
from measurebench.measures.network.structure import Structure
from measurebench.measures.network.weight_blocks import check_fold, layers_of, structure_of, weight_value
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
    """Runs the network so that its output is a sum over paths.

    Activations return their input, since a path consists of weights only. Arithmetic with constants before the first
    weight is input normalisation and is skipped. An operation that combines paths other than by adding them raises
    UndefinedMeasureError.
    """

    def __init__(self, image: Tensor, parameters: list[Tensor]) -> None:
        super().__init__()
        self.alive = [image]  # Python may reuse the id of a tensor that has been freed
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
        """Return the result of a call that is not carried out, or None for one that is; raise where paths multiply."""
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
            # x * sigmoid(x), the SiLU written out, is an activation; any other product of activations is not
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
    """Return the state of the network with every weight and bias squared, float64, each tensor in its own shape.

    With ``fold``, a batch norm is folded into its layer where that is exact; the scale and shift of any other batch
    norm are squared. The shapes are [C_out, C_in, ...] for weights and [C] for biases, scales and shifts. Raises
    UndefinedMeasureError if a layer's weight is computed from other parameters (weight norm, parametrisations).
    """
    structure, network = structure_of(context), context.network
    computed = [layer.name for layer in layers_of(context) if not layer.parameter]
    if computed:
        raise UndefinedMeasureError(f"path norm needs plain weights; that of layer {computed[0]!r} is computed")
    folded = bn == "fold" and _fold_matters(structure)
    state: State = folded_state(network, structure) if folded else {**dict(network.named_parameters())}
    affine = {}
    for name, norm in structure.norms.items():
        if folded and name in structure.folds:
            affine[name] = _remaining(state, name, norm.eps)
        else:
            affine[name] = scale_and_shift(norm)
    for name, _ in network.named_parameters():
        state[name] = state[name].detach().to(torch.float64, copy=True).square_()
    if not folded:
        buffers = network.named_buffers()
        state |= {name: (t.double() if t.is_floating_point() else t) for name, t in buffers}
    for name, (scale, shift) in affine.items():
        set_norm(state, name, structure.norms[name], scale.square(), shift.square())
    return state


def _fold_matters(structure: Structure) -> bool:
    """Return whether a layer that batch norm can be folded into has a bias.

    Only then is folding before squaring, (shift + scale * b)^2, not the same as squaring both, scale^2 b^2 + shift^2.
    """
    sources = {source for sources in structure.folds.values() for source in sources}
    return any(layer.module.bias is not None for layer in structure.layers if layer.name in sources)


def _remaining(state: State, name: str, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return scale and shift of a batch norm as a state holds them."""
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    scale = state.get(f"{name}.weight", torch.ones_like(mean)) / torch.sqrt(variance + epsilon)
    return scale, state.get(f"{name}.bias", torch.zeros_like(mean)) - scale * mean


@register()
@register(log=True)
@dataclass(frozen=True)
class PathNorm:
    """Sum of the outputs for an all-ones image, with every weight and bias squared; with ``log``, its logarithm."""

    log: bool = False
    bn: str = "fold"

    @property
    def info(self) -> MeasureInfo:
        """The description of the measure, for the norm or its logarithm."""
        suffix = "" if self.bn == "fold" else "_bn_layers"
        return MeasureInfo(
            id=f"{'log_' if self.log else ''}path_norm{suffix}",
            title="Path norm (log)" if self.log else "Path norm",
            family="weights",
            unit="nats" if self.log else "weight^2 products",
            formula=f"{'log ' if self.log else ''}sum_k f_{{W^2, b^2}}(1)_k",
            latex=rf"{chr(92) + 'log ' if self.log else ''}\sum_k f_{{W^2,\, b^2}}(\mathbf{{1}})_k",
            source="Neyshabur et al. 2015; Dziugaite et al. 2020, PATH_NORM",
            hypothesis="+",
            inputs=("weights",),
            cost="one image",
            tier="extended" if self.log else "core",
            explanation="The product of the squared weights along a path, summed over all paths from an input to an"
            " output.",
            properties=("rescale_invariant",),
            departures="Input normalisation is skipped and activations return their input, so that ones enter the first"
            " layer and every path counts. Batch norm is folded where that is exact; elsewhere it is replaced by its"
            " squared scale and shift. Pooling is unchanged. Computed in float64, since float32 overflows for deep"
            " networks. Undefined for networks with layer or group normalisation, attention or products of"
            " activations.",
        )

    def __call__(self, context: MeasureContext) -> MeasureValue:
        """Return the sum of outputs, or its logarithm.

        Raises UndefinedMeasureError where the network combines paths other than by adding them, and for the logarithm
        where no path has a weight.
        """
        if self.bn == "ignore":
            raise UndefinedMeasureError(
                "path norm cannot ignore batch norm, which is part of every path: use fold or layer"
            )
        total = context.shared(f"path norm, bn={self.bn}", lambda: self._sum_over_paths(context))
        if self.log and total <= 0:
            raise UndefinedMeasureError("no path has a weight: the logarithm does not exist")
        return weight_value(context, math.log(total) if self.log and math.isfinite(total) else total, self.bn)

    def _sum_over_paths(self, context: MeasureContext) -> float:
        if self.bn == "fold" and _fold_matters(structure_of(context)):
            check_fold(context)
        state = squared_state(context, self.bn)
        ones = torch.ones_like(context.images[:1], dtype=torch.float64)
        parameters = [state[name] for name, _ in context.network.named_parameters()]
        with torch.no_grad(), _Paths(ones, parameters):
            outputs = call_with(context.network, state, ones)
        return float(outputs.sum())
