"""Random numbers by key and position: any stretch of an example's stream, whichever stretch every row has reached.

The numbers are those of ``measurebench.attacks.noise``: its row of N numbers begins the stream that is read here
from any position on.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from measurebench.attacks.hashing import random_bits, shifted

__all__ = ["normal", "uniform"]


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
    return shifted(random_bits(keys, shape, stream, first), 40).to(dtype) * 2.0**-24


def normal(
    keys: Tensor, first: Tensor, shape: Sequence[int], *stream: object, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return the standard normal numbers that follow position ``first`` int64 [n] of each stream: [n, *shape]."""
    centred = (shifted(random_bits(keys, shape, stream, first), 12).to(torch.float64) + 0.5) * 2.0**-52
    numbers: Tensor = torch.special.ndtri(centred)
    return numbers.to(dtype)
