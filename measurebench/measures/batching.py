"""Batches that halve themselves when memory runs out, and go on where they were."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


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
