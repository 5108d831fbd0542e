"""Random numbers by key and position: any stretch of an example's stream, whichever stretch every row has reached.

The numbers are those of ``measurebench.attacks.noise``: its row of N numbers begins the stream that is read here
from any position on.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from measurebench.attacks.noise import _GAMMA, _mix, _shift
from measurebench.core.digests import seed_from

__all__ = ["normal", "uniform"]


@lru_cache(maxsize=256)
def _start(stream: tuple[object, ...]) -> int:
    return seed_from(*stream)


def _bits(keys: Tensor, first: Tensor, shape: Sequence[int], stream: tuple[object, ...]) -> Tensor:
    """Return 64 random bits for the positions from ``first`` int64 [n] on: int64 [n, *shape]."""
    rows = _mix(keys.to(torch.int64) * _GAMMA + _start(stream))
    steps = torch.arange(1, math.prod(shape) + 1, dtype=torch.int64, device=keys.device)
    return _mix(rows[:, None] + (first[:, None] + steps[None, :]) * _GAMMA).reshape(len(keys), *shape)


def uniform(
    keys: Tensor, first: Tensor, shape: Sequence[int], *stream: object, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return the uniform numbers in [0, 1) that follow position ``first`` int64 [n] of each key's stream: [n, *shape].

    They are multiples of 2^-24, so that float32 and float64 see the same numbers.

    >>> keys = torch.tensor([7, 8])
    >>> whole = uniform(keys, torch.tensor([0, 0]), (4,), "example")
    >>> torch.equal(uniform(keys, torch.tensor([2, 2]), (2,), "example"), whole[:, 2:])
    True
    """
    return _shift(_bits(keys, first, shape, stream), 40).to(dtype) * 2.0**-24


def normal(
    keys: Tensor, first: Tensor, shape: Sequence[int], *stream: object, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return the standard normal numbers that follow position ``first`` int64 [n] of each stream: [n, *shape]."""
    centred = (_shift(_bits(keys, first, shape, stream), 12).to(torch.float64) + 0.5) * 2.0**-52
    numbers: Tensor = torch.special.ndtri(centred)
    return numbers.to(dtype)
