"""Random bits by counter: SplitMix64's finalizer applied to a key's position in a stream.

After Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (OOPSLA 2014), in 64-bit integer
arithmetic that is exact on every device.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from measurebench.core.digests import seed_from

__all__ = ["GAMMA", "mixed", "random_bits", "shifted"]

GAMMA = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def shifted(z: Tensor, bits: int) -> Tensor:
    """Return 64-bit integers [...] shifted to the right, with zeros from the left (torch's own shift keeps the sign).

    >>> shifted(torch.tensor([-1, 8]), 62)
    tensor([3, 0])
    """
    return (z >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def mixed(z: Tensor) -> Tensor:
    """Return hashes of 64-bit integers [...], of which every output bit depends on every input bit."""
    # in place wherever a tensor is our own: new memory costs as much as the arithmetic
    z = shifted(z, 30).bitwise_xor_(z).mul_(_MIX_1)
    z.bitwise_xor_(shifted(z, 27)).mul_(_MIX_2)
    return z.bitwise_xor_(shifted(z, 31))


@lru_cache(maxsize=256)
def _start(stream: tuple[object, ...]) -> int:
    return seed_from(*stream)


def random_bits(keys: Tensor, shape: Sequence[int], stream: tuple[object, ...], first: Tensor | None = None) -> Tensor:
    """Return 64 random bits for every key int64 [n] and position of its stream, int64 [n, *shape].

    The positions begin at ``first`` int64 [n], or at 0.
    """
    rows = mixed(keys.to(torch.int64) * GAMMA + _start(stream))
    steps = torch.arange(1, math.prod(shape) + 1, dtype=torch.int64, device=keys.device)[None, :]
    places = steps if first is None else first[:, None] + steps
    return mixed(rows[:, None] + places * GAMMA).reshape(len(keys), *shape)
