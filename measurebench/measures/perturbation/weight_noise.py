"""Random perturbations of the weights, and the losses of the network under perturbed weights.

The network is neither changed nor copied: perturbed tensors stand in its places during a pass, then the old ones again.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from measurebench.compute.batching import out_of_memory
from measurebench.core.info import Examples
from measurebench.measures.context import MeasureContext
from measurebench.measures.network.exchange import Exchange
from measurebench.measures.network.layers import parameter_names
from measurebench.measures.perturbation.normals import normal_parts

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


@dataclass
class WeightNoise:
    """Standard normal numbers for numbered draws, in the shapes of given tensors, on their device and in their dtype.

    The numbers depend on (seed, stream, draw) and the position alone: they are the same float32 numbers for every
    dtype, device and batch size. They are drawn anew each time, which costs far less than a pass and holds no memory.
    """

    like: Tensors
    seed: int
    stream: str

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """Return the numbers of one draw by tensor name, each in the shape of its tensor."""
        numbers = {name: tensor.new_empty(tensor.shape) for name, tensor in self.like.items()}
        flat = {name: tensor.view(-1) for name, tensor in numbers.items()}
        for name, entries, part in self.parts(draw):
            flat[name][entries] = part
        return numbers

    def parts(self, draw: int) -> Iterator[tuple[str, slice, Tensor]]:
        """Yield the numbers of one draw part by part: a tensor's name, places among its entries, numbers [part].

        The numbers are float32; the next part replaces them.
        """
        bounds = list(accumulate((tensor.numel() for tensor in self.like.values()), initial=0))
        spans = deque(zip(self.like, pairwise(bounds), strict=True))
        for rows, numbers in normal_parts(bounds[-1], self._device, self.seed, self.stream, draw):
            while spans and spans[0][1][0] < rows.stop:
                name, (start, stop) = spans[0]
                first, last = max(start, rows.start), min(stop, rows.stop)
                if first < last:
                    yield name, slice(first - start, last - start), numbers[first - rows.start : last - rows.start]
                if stop > rows.stop:
                    break
                spans.popleft()

    @property
    def _device(self) -> torch.device:
        return next((tensor.device for tensor in self.like.values()), torch.device("cpu"))

    def signs(self, draw: int) -> dict[str, Tensor]:
        """Return the signs (-1 or 1) of the numbers of one draw, by tensor name, in the same shape as the tensor."""
        return {name: torch.where(tensor < 0, -1.0, 1.0).to(tensor) for name, tensor in self[draw].items()}


class Perturbed(nn.Module):
    """The network with some parameters and buffers replaced by other tensors; everything else is shared."""

    def __init__(self, network: nn.Module, tensors: Tensors) -> None:
        super().__init__()
        self.network, self.tensors = network, dict(tensors)
        self._exchange = Exchange(network, self.tensors)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, ...] to logits [n, K]."""
        return self._exchange(images)


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
