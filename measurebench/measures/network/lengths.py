"""Sums of squares in float64 of tensors in any precision, without a copy of them in float64."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["length", "squared_distance", "squared_length", "squared_lengths"]

# Entries converted at a time: half a megabyte in float64, which a CPU's cache holds. A GPU launches fewer kernels.
_CHUNK = {"cpu": 1 << 16, "cuda": 1 << 24}


def squared_length(tensor: Tensor) -> Tensor:
    """Return the sum of the squared entries of a tensor of any shape, accumulated in float64, as a scalar tensor.

    >>> squared_length(torch.tensor([[3.0], [4.0]]))
    tensor(25., dtype=torch.float64)
    """
    parts: list[Tensor] = []
    precise = _buffer(tensor)
    for part in _chunks(tensor):
        entries = precise[: len(part)].copy_(part)
        parts.append(torch.dot(entries, entries))
    return _sum(parts, tensor)


def squared_distance(one: Tensor, other: Tensor) -> Tensor:
    """Return the sum of the squared differences of two tensors of one shape, computed in float64, as a scalar tensor.

    >>> squared_distance(torch.tensor([1.0, 5.0]), torch.tensor([1.0, 2.0]))
    tensor(9., dtype=torch.float64)
    """
    parts: list[Tensor] = []
    precise = _buffer(one)
    for here, there in zip(_chunks(one), _chunks(other), strict=True):
        difference = precise[: len(here)].copy_(here).sub_(there)
        parts.append(torch.dot(difference, difference))
    return _sum(parts, one)


def squared_lengths(tensors: Iterable[Tensor]) -> Tensor:
    """Return the sum of the squared entries of each tensor, float64 [tensors].

    >>> squared_lengths([torch.ones(2, 3), torch.full((2,), 2.0)])
    tensor([6., 8.], dtype=torch.float64)
    """
    return torch.stack([squared_length(tensor) for tensor in tensors])


def length(tensors: Iterable[Tensor]) -> float:
    """Return the joint L2 norm of tensors of any shape, accumulated in float64.

    >>> length([torch.tensor([3.0]), torch.tensor([[4.0]])])
    5.0
    """
    squares = [squared_length(tensor) for tensor in tensors]
    return math.sqrt(math.fsum(torch.stack(squares).tolist())) if squares else 0.0


def _chunks(tensor: Tensor) -> tuple[Tensor, ...]:
    return torch.split(tensor.detach().reshape(-1), _size(tensor))


def _size(tensor: Tensor) -> int:
    return _CHUNK.get(tensor.device.type, 1 << 24)


def _buffer(tensor: Tensor) -> Tensor:
    """Return float64 memory for one chunk, which every chunk uses in turn: new memory costs as much as the sum."""
    return torch.empty(min(_size(tensor), tensor.numel()), dtype=torch.float64, device=tensor.device)


def _sum(parts: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(parts).sum() if parts else torch.zeros((), dtype=torch.float64, device=like.device)
