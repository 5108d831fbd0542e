"""The norm of each example's own gradient in the weights, layer by layer for a whole batch at once.

The gradient of a layer's weight at one example is the product of what the layer read and of the loss's gradient at
what it wrote, summed over positions. Its norm follows from either the product itself or, where positions are few, from
the products among positions (Goodfellow 2015, "Efficient per-example gradient computations"), so that no example's
gradient in all weights is ever held.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from measurebench.compute.batching import Batches
from measurebench.core.info import Examples
from measurebench.measures.context import MeasureContext

__all__ = ["per_example_norms"]

# Numbers held at a time beyond the activations: an eighth of a gigabyte in float32.
_HELD = 1 << 25
# How far the layers' sum may be off for the first example, relative: rounding is below it, a missed term is not.
_AGREEMENT = 1e-3


def per_example_norms(context: MeasureContext, examples: Examples) -> Tensor:
    """Return the norm of each example's gradient in all trainable parameters, float64 [n].

    A network with other parameters than those of plain layers, or one that uses them outside their layers, is
    differentiated one example after another.
    """
    images = context.examples(examples)
    if _layers(context) is not None:
        first = _whole(context, images, slice(0, 1))
        if torch.allclose(_by_layer(context, images, slice(0, 1)), first, rtol=_AGREEMENT, atol=0):
            return context.batches.cat(lambda rows: _by_layer(context, images, rows), context.n)
    n_parameters = sum(value.numel() for value in context.parameters.values())
    size = max(1, min(context.batches.size, _HELD // max(1, n_parameters)))
    return Batches(size).cat(lambda rows: _whole(context, images, rows), context.n)


def _whole(context: MeasureContext, images: Tensor, rows: slice) -> Tensor:
    """Return the norms [rows] from the gradients of all examples in all parameters."""

    def loss(weights: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(context.logits_with(weights, image[None]), label[None])

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    found = gradients(context.parameters, images[rows], context.labels[rows])
    return torch.stack([value.double().flatten(1).square().sum(1) for value in found.values()]).sum(0).sqrt()


def _layers(context: MeasureContext) -> list[nn.Module] | None:
    """Return the layers that own all parameters, or None where some parameter belongs to no plain layer."""
    owners = [module for module in context.network.modules() if list(module.parameters(recurse=False))]
    return owners if owners and all(_is_plain(module) for module in owners) else None


def _is_plain(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return type(module) is nn.Linear or (isinstance(module, _BatchNorm) and module.running_mean is not None)


@dataclass
class _Seen:
    """What one call of a layer read and wrote, and how often the former had been changed in place by then."""

    module: Any
    read: Tensor
    wrote: Tensor
    version: int = field(init=False)

    def __post_init__(self) -> None:
        self.version = self.read._version


@contextmanager
def _watched(layers: list[nn.Module], calls: list[_Seen]) -> Iterator[None]:
    def note(module: nn.Module, inputs: Any, named: Any, output: Tensor) -> Tensor:
        read = [*inputs, *named.values()][0]
        calls.append(_Seen(module, read.detach(), output))
        return output.clone()  # an activation that works in place must not change what the gradient is taken at

    handles = [layer.register_forward_hook(note, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _by_layer(context: MeasureContext, images: Tensor, rows: slice) -> Tensor:
    """Return the norms [rows] as the root of the layers' sum; NaN where the layers' calls do not tell them."""
    layers, calls = _layers(context) or [], list[_Seen]()
    points = images[rows].detach().requires_grad_(True)
    with torch.enable_grad(), _watched(layers, calls):
        logits = context.logits_with(context.parameters, points)
        loss = F.cross_entropy(logits, context.labels[rows], reduction="sum")
    total = torch.zeros(len(points), dtype=torch.float64, device=points.device)
    if not _telling(calls):
        return total + torch.nan
    slopes = torch.autograd.grad(loss, [call.wrote for call in calls], allow_unused=True)
    for call, slope in zip(calls, slopes, strict=True):
        if slope is not None:
            total += _squares(call.module, call.read, slope)
    return total.sqrt()


def _telling(calls: list[_Seen]) -> bool:
    """Return whether every layer was called once, on what depends on the image and was not changed since."""
    once = len({id(call.module) for call in calls}) == len(calls)
    return once and all(call.wrote.requires_grad and call.read._version == call.version for call in calls)


def _squares(module: Any, read: Tensor, slope: Tensor) -> Tensor:
    """Return the squared norm of each example's gradient in one layer's parameters, float64 [n]."""
    if isinstance(module, _BatchNorm):
        return _of_norm(module, read, slope)
    if isinstance(module, nn.Linear):
        n_read, n_positions = read.shape[-1], read[0].numel() // read.shape[-1]
        groups = 1

        def columns(rows: slice) -> Tensor:
            return read[rows].reshape(-1, n_positions, n_read).mT[:, None]

        written = slope.reshape(len(slope), n_positions, -1).mT[:, None]
    else:
        groups, n_read = module.groups, module.weight[0].numel()
        written = slope.reshape(len(slope), groups, slope.shape[1] // groups, -1)
        n_positions = written.shape[-1]

        def columns(rows: slice) -> Tensor:
            patches = F.unfold(read[rows], module.kernel_size, module.dilation, module.padding, module.stride)
            return patches.reshape(len(patches), groups, n_read, n_positions)

    squares = _of_product(columns, written, n_read)
    if module.bias is not None:
        squares = squares + written.sum(-1).double().square().sum((1, 2))
    return squares


def _of_product(columns: Callable[[slice], Tensor], written: Tensor, n_read: int) -> Tensor:
    """Return ||W R'||_F^2 of each example, [n], for ``written`` W [n, g, o, t] and ``columns`` R [n, g, i, t]."""
    groups, n_written, n_positions = written.shape[1:]
    few = n_positions * (n_read + n_written) < n_read * n_written
    largest = max(n_read * n_positions, n_positions**2 if few else n_read * n_written)

    def squares(rows: slice) -> Tensor:
        there, here = columns(rows), written[rows]
        if few:
            here, there = here.double(), there.double()
            return ((here.mT @ here) * (there.mT @ there)).sum((1, 2, 3))
        return (here @ there.mT).double().square().sum((1, 2, 3))

    return Batches(max(1, _HELD // (groups * largest))).cat(squares, len(written))


def _of_norm(module: _BatchNorm, read: Tensor, slope: Tensor) -> Tensor:
    """Return the squares of the gradients in scale and shift of a batch norm at inference, [n]."""
    if module.running_mean is None or module.running_var is None or not module.affine:
        return torch.zeros(len(read), dtype=torch.float64, device=read.device)
    shape = (1, -1, *[1] * (read.dim() - 2))
    scale = (module.running_var + module.eps).rsqrt()
    unit = (read - module.running_mean.reshape(shape)) * scale.reshape(shape)
    sums = [part.reshape(*part.shape[:2], -1).sum(-1).double() for part in (unit * slope, slope)]
    return torch.stack([each.square().sum(1) for each in sums]).sum(0)
