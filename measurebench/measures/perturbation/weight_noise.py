"""Random perturbations of the weights, and the losses of the network under perturbed weights.

The network is neither changed nor copied: perturbed parameters are passed to ``torch.func.functional_call``.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from measurebench.compute.batching import out_of_memory
from measurebench.compute.memory import free_bytes
from measurebench.core.info import Examples
from measurebench.measures.context import MeasureContext
from measurebench.measures.network.layers import parameter_names
from measurebench.measures.perturbation.normals import normals

__all__ = [
    "Perturbed",
    "Tensors",
    "WeightNoise",
    "base_losses",
    "cross_entropies",
    "layer_tensors",
    "length",
    "losses",
    "on_spheres",
    "precise_losses",
    "shifted",
]

Tensors = Mapping[str, Tensor]
# Draws up to this size together stay in memory (256 MiB, on a GPU a share of what is free); others are drawn again.
_KEPT_BYTES = 1 << 28
_KEPT_SHARE = 8


@dataclass
class WeightNoise:
    """Standard normal numbers for numbered draws, in the shapes of given tensors, on their device and in their dtype.

    The numbers depend on (seed, stream, draw) and the position alone: they are the same float32 numbers for every
    dtype, device and batch size.
    """

    like: Tensors
    seed: int
    stream: str
    _kept: dict[int, dict[str, Tensor]] = field(default_factory=dict, repr=False)

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """Return the numbers of one draw by tensor name, each in the shape of its tensor."""
        if draw in self._kept:
            return self._kept[draw]
        sizes = [tensor.numel() for tensor in self.like.values()]
        flat = normals(sum(sizes), self._device, self.seed, self.stream, draw)
        numbers = {
            name: part.view(tensor.shape).to(tensor)
            for (name, tensor), part in zip(self.like.items(), torch.split(flat, sizes), strict=True)
        }
        if sum(tensor.nbytes for tensor in numbers.values()) * (len(self._kept) + 1) <= self._budget:
            self._kept[draw] = numbers
        return numbers

    @property
    def _device(self) -> torch.device:
        return next((tensor.device for tensor in self.like.values()), torch.device("cpu"))

    @cached_property
    def _budget(self) -> int:
        """How many bytes of draws to keep."""
        free = free_bytes(self._device)
        return _KEPT_BYTES if free is None else free // _KEPT_SHARE

    def signs(self, draw: int) -> dict[str, Tensor]:
        """Return the signs (-1 or 1) of the numbers of one draw, by tensor name, in the same shape as the tensor."""
        return {name: torch.where(tensor < 0, -1.0, 1.0).to(tensor) for name, tensor in self[draw].items()}


class Perturbed(nn.Module):
    """The network with some parameters and buffers replaced by other tensors; everything else is shared."""

    def __init__(self, network: nn.Module, tensors: Tensors) -> None:
        super().__init__()
        self.network, self.tensors = network, dict(tensors)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, ...] to logits [n, K]."""
        logits: Tensor = functional_call(self.network, self.tensors, (images,))
        return logits


def length(tensors: Iterable[Tensor]) -> float:
    """Return the joint L2 norm of tensors of any shape, accumulated in float64.

    >>> length([torch.tensor([3.0]), torch.tensor([[4.0]])])
    5.0
    """
    return math.sqrt(math.fsum(float(tensor.double().square().sum()) for tensor in tensors))


def shifted(parameters: Tensors, steps: Tensors, factor: float = 1.0) -> dict[str, Tensor]:
    """Return the parameters plus ``factor`` times the steps, in the same shapes; those without a step are unchanged."""
    return {
        name: value + (factor * steps[name]).to(value.dtype) if name in steps else value
        for name, value in parameters.items()
    }


def layer_tensors(context: MeasureContext) -> dict[str, Tensor]:
    """Return the weights [C_out, C_in, ...] and biases [C] outside normalisation layers, by name.

    Each tensor counts as a layer (Stutz et al. 2021).
    """
    parameters = context.parameters
    return {name: parameters[name] for name in parameter_names(context.network)}


def on_spheres(tensors: Tensors, noise: Tensors, relative_radius: float) -> dict[str, Tensor]:
    """Return the noise in the same shape, scaled so that each norm is ``relative_radius`` times that of its weights."""
    # 1e-30 only guards a tensor without entries, whose noise has norm 0
    return {
        name: noise[name] * (relative_radius * length([tensor]) / max(length([noise[name]]), 1e-30))
        for name, tensor in tensors.items()
    }


def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each example, float64 [n], for logits [n, K] and labels [n]."""
    return F.cross_entropy(logits.double(), labels, reduction="none")


def losses(context: MeasureContext, tensors: Tensors, images: Tensor) -> Tensor:
    """Return the cross-entropies of images [n, ...] under other parameters, float64 [n], without gradients."""
    return cross_entropies(context.forward(images, Perturbed(context.network, tensors)), context.labels[: len(images)])


def precise_losses(context: MeasureContext, shift: Tensors, images: Tensor) -> Tensor:
    """Return the cross-entropies [n] of images [n, ...] under shifted weights, computed in float64 throughout.

    A small increase is the difference of two close losses, for which float32 keeps too few digits. A network that
    cannot be evaluated in float64 is evaluated in the precision of the images.
    """
    network = context.network
    state = dict(network.named_parameters()) | dict(network.named_buffers())
    precise = {name: t.detach().double() if t.is_floating_point() else t for name, t in state.items()}
    try:
        return losses(context, shifted(precise, shift), images.double())
    except RuntimeError as error:
        if out_of_memory(error) or images.dtype == torch.float64:
            raise
        return losses(context, shifted(context.parameters, shift), images)


def base_losses(context: MeasureContext, kind: Examples, n: int | None = None) -> Tensor:
    """Return the cross-entropy of the first n examples under the network's own weights, float64 [n]."""
    return cross_entropies(context.logits(kind)[:n], context.labels[:n])
