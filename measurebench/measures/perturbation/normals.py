"""Normal random numbers from a counter, equal to the last bit on every device.

A hash of the counter gives four table look-ups, and each number is the sum of two of them: only integer operations,
look-ups and single float32 additions are used, whose results IEEE 754 and two's complement fix. The usual methods
take logarithms, which differ between processors in their last digits.
"""

import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from measurebench.core.digests import seed_from
from measurebench.measures.perturbation.compiled_normals import filler

__all__ = ["normal_parts", "normals"]

# SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014), as signed integers.
_GAMMA = -7046029254386353131  # 0x9E3779B97F4A7C15
_ROUNDS = ((30, -4658895280553007687), (27, -7723592293110705685))  # 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_LAST_SHIFT = 31
_QUANTILES = 1 << 16
# Hashes at a time: small enough for a processor's cache, large enough to fill a GPU. The numbers do not depend on it.
_CHUNK = {"cpu": 1 << 15, "cuda": 1 << 22}
# Numbers that a process draws on a CPU before the compiled loop takes over. Loading and compiling it takes 0.3 to 1 s,
# about what torch's operations need for so many numbers: small networks do without, large ones lose little. Each draw
# counts as some numbers more, which is what starting torch's operations costs.
_BREAK_EVEN, _EACH_DRAW = 1 << 26, 1 << 14
_drawn = 0


def normals(n: int, device: torch.device, *stream: object) -> Tensor:
    """Return n numbers that are almost exactly standard normal, float32 [n]; they depend on ``stream`` alone.

    Each is the sum of two of 65,536 normal quantiles, scaled to variance 1. Their distribution function differs from
    the normal one by at most 7.7e-6, their kurtosis is 2.9996, and the largest is 6.1. The first k of n numbers are
    the k numbers of the same stream.

    >>> normals(4, torch.device("cpu"), "weights", 0).equal(normals(9, torch.device("cpu"), "weights", 0)[:4])
    True
    """
    numbers = torch.empty(n, device=device)
    for rows, part in normal_parts(n, device, *stream):
        numbers[rows] = part
    return numbers


def normal_parts(n: int, device: torch.device, *stream: object) -> Iterator[tuple[slice, Tensor]]:
    """Yield the same n numbers part by part: their places, and numbers float32 [part] that the next part replaces.

    A part is small enough for a processor's cache, so that what is computed from it at once needs no memory of its own.
    """
    table, chunk = _table(device), max(1, min(_CHUNK[device.type], -(-n // 2)))
    numbers = torch.empty(2 * chunk, device=device)
    fill = (_compiled if _is_worth_compiling(n, device) else _by_torch)(table, numbers)
    start = seed_from(*stream)
    for first in range(0, -(-n // 2), chunk):
        fill(start + first * _GAMMA)
        stop = min(2 * (first + chunk), n)
        yield slice(2 * first, stop), numbers[: stop - 2 * first]


def _is_worth_compiling(n: int, device: torch.device) -> bool:
    """Count n numbers more, and tell whether this process draws so many on a CPU that the compiled loop pays."""
    global _drawn
    if device.type != "cpu":
        return False
    _drawn += n + _EACH_DRAW
    return _drawn > _BREAK_EVEN


def _compiled(table: Tensor, numbers: Tensor) -> Callable[[int], None]:
    """Return a function that fills ``numbers`` [2 * hashes] from a start on, in one compiled loop."""
    fill, quantiles, out = filler(), _entries(table), numbers.numpy()
    return lambda start: fill(quantiles, np.uint64(start % (1 << 64)), out)


def _by_torch(table: Tensor, numbers: Tensor) -> Callable[[int], None]:
    """Return a function that fills ``numbers`` [2 * hashes] from a start on, by operations of torch on any device."""
    chunk, device = len(numbers) // 2, numbers.device
    steps = torch.arange(1, chunk + 1, device=device).mul_(_GAMMA)
    hashes, scratch = torch.empty_like(steps), torch.empty_like(steps)
    places = torch.empty(4 * chunk, dtype=torch.int32, device=device)
    values = torch.empty(4 * chunk, device=device)

    def fill(start: int) -> None:
        torch.add(steps, _signed(start), out=hashes)
        _hash(hashes, scratch)
        places.copy_(hashes.view(torch.int16)).bitwise_and_(_QUANTILES - 1)
        torch.index_select(table, 0, places, out=values)
        torch.add(values[::2], values[1::2], out=numbers)

    return fill


def _hash(z: Tensor, scratch: Tensor) -> None:
    """Hash 64-bit integers in place; ``scratch`` has their shape."""
    for bits, factor in _ROUNDS:
        z.bitwise_xor_(_shifted(z, bits, scratch)).mul_(factor)
    z.bitwise_xor_(_shifted(z, _LAST_SHIFT, scratch))


def _shifted(z: Tensor, bits: int, out: Tensor) -> Tensor:
    """Return the integers shifted to the right with zeros from the left (torch's own shift repeats the sign)."""
    return torch.bitwise_right_shift(z, bits, out=out).bitwise_and_((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    """Return a whole number modulo 2^64 as a signed 64-bit integer."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


@cache
def _entries(table: Tensor) -> np.ndarray[Any, Any]:
    """Return a view of the table for compiled code, made once."""
    entries: np.ndarray[Any, Any] = table.numpy()
    return entries


@cache
def _table(device: torch.device) -> Tensor:
    """Return the quantiles at the middles of 65,536 equal shares, float32 [65536], such that a sum of two is normal.

    They are computed on the CPU, symmetric about 0 and scaled so that the sum of two has variance 1.
    """
    shares = (torch.arange(_QUANTILES, dtype=torch.float64) + 0.5) / _QUANTILES
    quantiles = torch.special.ndtri(shares)
    quantiles = (quantiles - quantiles.flip(0)) / 2
    scale = math.sqrt(2 * float(quantiles.square().mean()))
    table: Tensor = (quantiles / scale).float().to(device)
    return table
