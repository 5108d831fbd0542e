"""Random numbers per example: a counter-based generator, so that batches, order and device change nothing.

Every number is a hash of (stream, example key, draw, position): SplitMix64's finalizer (Steele, Lea and Flood,
"Fast Splittable Pseudorandom Number Generators", OOPSLA 2014) applied to a counter, in 64-bit integer arithmetic
that is exact on every device.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from measurebench.core.digests import seed_from

__all__ = ["content_keys", "integers", "normal", "uniform"]

_GAMMA = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def _shift(z: Tensor, bits: int) -> Tensor:
    """Logical right shift (torch's own keeps the sign)."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _mix(z: Tensor) -> Tensor:
    """Hash 64-bit integers to 64-bit integers, every output bit depending on every input bit."""
    z = (z ^ _shift(z, 30)) * _MIX_1
    z = (z ^ _shift(z, 27)) * _MIX_2
    return z ^ _shift(z, 31)


def _bits(keys: Tensor, shape: Sequence[int], stream: tuple[object, ...]) -> Tensor:
    """64 random bits for every key and position: int64 [n, *shape]."""
    start = torch.tensor(seed_from(*stream), dtype=torch.int64, device=keys.device)
    rows = _mix(keys.to(torch.int64) * _GAMMA + start)
    positions = torch.arange(1, math.prod(shape) + 1, dtype=torch.int64, device=keys.device) * _GAMMA
    return _mix(rows[:, None] + positions[None, :]).reshape(len(keys), *shape)


def uniform(keys: Tensor, shape: Sequence[int], *stream: object, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return uniform numbers in [0, 1), [n, *shape], that depend on each example's key and the stream alone.

    They are multiples of 2^-24, exact in float32, so that float32 and float64 see the same numbers.
    """
    return (_shift(_bits(keys, shape, stream), 40)).to(dtype) * 2.0**-24


def normal(keys: Tensor, shape: Sequence[int], *stream: object, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return standard normal numbers [n, *shape], by inverting the distribution function in float64."""
    centred = (_shift(_bits(keys, shape, stream), 12).to(torch.float64) + 0.5) * 2.0**-52
    numbers: Tensor = torch.special.ndtri(centred)
    return numbers.to(dtype)


def integers(keys: Tensor, high: int, *stream: object) -> Tensor:
    """Return integers in [0, high), int64 [n] (the bias of the modulus is below high / 2^62)."""
    return _shift(_bits(keys, (1,), stream), 2)[:, 0] % high


def content_keys(images: Tensor) -> Tensor:
    """Return a key per image, int64 [n], from its pixels as float32: the same in any order and precision."""
    words = images.detach().to(torch.float32).flatten(1).contiguous().view(torch.int32).to(torch.int64)
    positions = torch.arange(1, words.shape[1] + 1, dtype=torch.int64, device=images.device) * _GAMMA
    return _mix(_mix(words + positions).sum(1))
