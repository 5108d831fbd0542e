"""Batches that halve themselves when memory runs out, and go on where they were."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

__all__ = ["Batches", "T", "out_of_memory", "smaller_until_it_fits"]

T = TypeVar("T")
# How the CPU's allocator and CUDA's libraries say it, where torch has no class of its own for it.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "cuSOLVER_STATUS_ALLOC_FAILED",
    "unable to find an engine to execute",
)


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)


def smaller_until_it_fits(function: Callable[[int], T], size: int) -> T:
    """Return the function's result at this size, or at half of it, and so on, where memory runs out."""
    while True:
        try:
            return function(size)
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not out_of_memory(error):
                raise
        size //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class Batches:
    """Runs a function over consecutive rows, ``size`` at a time; ``size`` only ever shrinks."""

    def __init__(self, size: int) -> None:
        self.size = size

    def each(self, function: Callable[[slice], T], n: int) -> Iterator[T]:
        """Yield the function's result for each batch of rows; a batch that does not fit is tried at half the size.

        The function must have no effect before it returns. Memory that runs out at one row is an error.
        """
        start = 0
        while start < n:
            rows = slice(start, min(start + self.size, n))
            try:
                result = function(rows)
            except (RuntimeError, MemoryError) as error:
                if self.size == 1 or not out_of_memory(error):
                    raise
                self.size = max(1, min(self.size, n) // 2)
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            yield result
            start = rows.stop

    def cat(self, function: Callable[[slice], Tensor], n: int) -> Tensor:
        """Return the results of all batches, concatenated along the first axis: [n, ...]."""
        return torch.cat(list(self.each(function, n)))
