"""Operator norms of convolutions on whole images, with circular padding and with their actual padding."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from measurebench.measures.network.largest_norm import largest_square, may_reach
from measurebench.measures.network.layers import WeightLayer

__all__ = ["circular_norm", "padded_norm"]

_CHUNK = {"cpu": 1 << 22, "cuda": 1 << 26}  # complex numbers held at a time: 64 MB, and 1 GB to fill a GPU
_DIRECT = 64  # up to this many rows the eigenvalues cost less than finding out whether they are needed
_STEPS = (12, 30)  # of the first look at all frequencies, and of the second at those that remain
_TOLERANCE = 1e-8  # of the eigenvalue, relative: far below the differences between networks
_SMALL = 24  # up to this many rows a dense eigenvalue problem is faster, and ARPACK needs more rows than it returns


def circular_norm(layer: WeightLayer, input_shape: Sequence[int]) -> float:
    """Return the squared operator norm with circular padding for inputs of shape [C, H, W].

    The operator maps frequency f of the input to frequency f mod m of the output, where n = m * stride. Its blocks
    are the transfer matrices of all frequencies with the same image, side by side, divided by the square root of their
    number (Sedghi et al. 2019 for stride 1). Only those that may have the largest norm are decomposed. An input size
    that the stride does not divide is rounded up. A transposed convolution is treated as the adjoint of a convolution
    on its output.
    """
    module = _convolution(layer)
    grid, n_aliases = _grid(module, input_shape), math.prod(module.stride)
    kernel = layer.weight.reshape(layer.groups, len(layer.weight) // layer.groups, layer.weight.shape[1], -1)
    size = max(1, _CHUNK.get(kernel.device.type, 1 << 22) // (kernel[..., 0].numel() * n_aliases))
    largest = 0.0
    for part in torch.split(_half(grid, module.stride), size):
        phases = _phases(part, grid, module).to(kernel.device)
        if min(kernel.shape[1], kernel.shape[2] * n_aliases) > _DIRECT:
            largest, phases = _candidates(kernel, phases, largest)
        if len(phases):
            largest = max(largest, largest_square(_transfers(kernel.double(), phases)))
    return largest / n_aliases


def _candidates(kernel: Tensor, phases: Tensor, largest: float) -> tuple[float, Tensor]:
    """Return the largest squared norm found so far, and the phases that may exceed it."""
    coarse = _transfers(kernel.float(), phases.to(torch.complex64))
    if not largest:
        first = coarse.abs().square().sum((-2, -1)).amax(1).argmax()  # any start does; a large matrix rules out more
        largest = largest_square(_transfers(kernel.double(), phases[first : first + 1]))
    for n_steps in _STEPS:
        kept = may_reach(coarse.flatten(0, 1), largest, n_steps).reshape(len(phases), -1).any(1)
        coarse, phases = coarse[kept], phases[kept]
        if not len(phases):
            break
    return largest, phases


def _transfers(kernel: Tensor, phases: Tensor) -> Tensor:
    """Return the transfer matrices [F, groups, o, A * i] of a kernel [groups, o, i, taps] for phases [F, A, taps]."""
    (n, n_aliases, n_taps), taps = phases.shape, kernel.reshape(-1, kernel.shape[-1]).T
    # a product with one row per frequency, so that each matrix lies in one piece: products with others are not slow
    parts = [part.reshape(-1, n_taps) @ taps for part in (phases.real, phases.imag)]
    made = torch.complex(*parts).reshape(n, n_aliases, *kernel.shape[:-1])
    return made.permute(0, 2, 3, 1, 4).flatten(3).contiguous()


def _convolution(layer: WeightLayer) -> _ConvNd:
    if not isinstance(layer.module, _ConvNd):
        raise TypeError(f"layer {layer.name} is not a convolution")
    return layer.module


def _grid(module: _ConvNd, input_shape: Sequence[int]) -> list[int]:
    """Return the image size that the convolution reads (a transposed one: writes), as a multiple of the stride."""
    sizes = list(input_shape)[1:]
    if isinstance(module, _ConvTransposeNd):
        return [size * step for size, step in zip(sizes, module.stride, strict=True)]
    return [-(-size // step) * step for size, step in zip(sizes, module.stride, strict=True)]


def _half(grid: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Return the output frequencies [F, axes]; half of the last axis suffices, since the kernel is real."""
    outputs = [n // s for n, s in zip(grid, stride, strict=True)]
    axes = [range(m) for m in outputs[:-1]] + [range(outputs[-1] // 2 + 1)]
    return torch.tensor(list(itertools.product(*axes)), dtype=torch.float64)


def _phases(frequencies: Tensor, grid: Sequence[int], module: _ConvNd) -> Tensor:
    """Return exp(-2 pi i f t / n) for every frequency, each of its aliases and each kernel position: [F, A, taps]."""
    shifts = [[a * n // s for a in range(s)] for n, s in zip(grid, module.stride, strict=True)]
    aliases = torch.tensor(list(itertools.product(*shifts)), dtype=torch.float64)
    taps = [[t * d for t in range(k)] for k, d in zip(module.kernel_size, module.dilation, strict=True)]
    positions = torch.tensor(list(itertools.product(*taps)), dtype=torch.float64)
    waves = (frequencies[:, None, :] + aliases[None]) / torch.tensor(grid, dtype=torch.float64)
    turns = torch.remainder(waves @ positions.T, 1.0)
    return torch.polar(torch.ones_like(turns), -2 * math.pi * turns)


def padded_norm(layer: WeightLayer, input_shape: Sequence[int]) -> float:
    """Return the squared operator norm of the convolution with its own padding for inputs of shape [C, H, W].

    It is found by Lanczos iteration in float64, with torch's own convolution as the operator and its gradient as the
    adjoint. The residual is below 1e-8 of the eigenvalue.
    """
    module = _convolution(layer)
    zeros = torch.zeros(1, *input_shape, dtype=torch.float64, device=layer.weight.device)
    weight = layer.weight.double()
    with torch.enable_grad():
        leaf = zeros.requires_grad_(True)
        image = _apply(module, weight, leaf)

        def adjoint(values: Tensor) -> Tensor:
            return torch.autograd.grad(image, leaf, values, retain_graph=True)[0]

        def gram(vector: Any) -> Any:
            given = torch.as_tensor(np.asarray(vector), dtype=torch.float64, device=weight.device)
            with torch.no_grad():
                if image.numel() < leaf.numel():
                    made = _apply(module, weight, adjoint(given.reshape(image.shape)))
                else:
                    made = adjoint(_apply(module, weight, given.reshape(leaf.shape)))
            return made.flatten().cpu().numpy()

        return _largest_eigenvalue(gram, min(image.numel(), leaf.numel()))


def _apply(module: _ConvNd, weight: Tensor, images: Tensor) -> Tensor:
    """Apply a convolution without its bias."""
    axes = len(module.kernel_size)
    if isinstance(module, _ConvTransposeNd):
        transposed = getattr(F, f"conv_transpose{axes}d")
        made: Tensor = transposed(
            images, weight, None, module.stride, module.padding, module.output_padding, module.groups, module.dilation
        )
        return made
    padding: Any = module.padding
    if module.padding_mode != "zeros":
        images = F.pad(images, module._reversed_padding_repeated_twice, mode=module.padding_mode)
        padding = 0
    plain: Tensor = getattr(F, f"conv{axes}d")(
        images, weight, None, module.stride, padding, module.dilation, module.groups
    )
    return plain


def _largest_eigenvalue(gram: Any, size: int) -> float:
    """Return the largest eigenvalue of a symmetric positive operator on vectors of this size."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    if size <= _SMALL:
        return float(np.linalg.eigvalsh(np.stack([gram(row) for row in np.eye(size)]))[-1])
    start = np.random.default_rng(0).standard_normal(size)
    if not gram(start).any():
        return 0.0
    operator = LinearOperator((size, size), matvec=gram, dtype=np.float64)
    values = eigsh(operator, k=1, which="LA", v0=start, tol=_TOLERANCE, return_eigenvectors=False)
    return float(values[0])
