"""The loop behind ``normals`` in machine code, for CPUs: one pass in registers, where torch makes twenty in memory.

It took 1.0 ns a number where torch's operations took 4 to 10. Only whole numbers and single float32 additions are
used, so that the numbers are equal to the last bit.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from measurebench.core.compiled import compiled

__all__ = ["filler"]

A = np.ndarray[Any, Any]

# The constants of ``normals``, unsigned: numba turns a sum of signed and unsigned 64-bit integers into a float.
_GAMMA, _FACTOR_1, _FACTOR_2 = (np.uint64(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)
_LOW, _SECOND, _THIRD, _FOURTH = np.uint64(0xFFFF), np.uint64(16), np.uint64(32), np.uint64(48)


def _fill(table: A, start: np.uint64, numbers: A) -> None:
    """Fill float32 [2 * hashes] from float32 [65536]: two numbers from the hash of every step after ``start``."""
    counter = start
    for i in range(len(numbers) // 2):
        counter = counter + _GAMMA
        z = (counter ^ (counter >> _SHIFT_1)) * _FACTOR_1
        z = (z ^ (z >> _SHIFT_2)) * _FACTOR_2
        z = z ^ (z >> _SHIFT_3)
        numbers[2 * i] = table[z & _LOW] + table[(z >> _SECOND) & _LOW]
        numbers[2 * i + 1] = table[(z >> _THIRD) & _LOW] + table[z >> _FOURTH]


@cache
def filler() -> Callable[[A, np.uint64, A], None]:
    """Return ``fill(table [65536], start, numbers [2 * hashes])``, compiled at its first call.

    It writes the numbers of the hashes of start + GAMMA, start + 2 GAMMA, ... into ``numbers``, all float32.
    """
    return compiled(_fill)
