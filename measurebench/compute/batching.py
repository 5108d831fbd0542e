"""Runs a function batch by batch; a batch that does not fit into memory is halved and tried again."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

__all__ = ["Batches", "T", "forward_batches", "out_of_memory", "smaller_until_it_fits"]

T = TypeVar("T")
# Images in one forward pass, as a multiple of the batch size: without gradients a pass needs far less memory.
_FORWARD_BATCHES = {"cpu": 2, "cuda": 4}
# Images and pixel values in one forward pass on a CPU. With more, the activations no longer fit into its caches: a
# digits network took 5.7 microseconds an image at 256 images, 9.5 at 400.
_CPU_IMAGES, _CPU_VALUES = 256, 2**18
# Messages of the CPU's allocator and of CUDA's libraries, for which torch has no exception class of its own.
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
    """Tell whether an error says that memory ran out, on a GPU or on the CPU.

    >>> out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    True
    >>> out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    False
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)


def smaller_until_it_fits(function: Callable[[int], T], size: int) -> T:
    """Return ``function(size)``; where memory runs out, the result at half the size, and so on down to 1.

    An error other than lack of memory, and lack of memory at size 1, is raised as it came.
    """
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
    """Runs functions over consecutive rows, at most ``size`` at a time.

    A function whose batch did not fit into memory is given smaller ones from then on; other functions are not.

    >>> Batches(4).cat(lambda rows: torch.arange(rows.start, rows.stop), 10)
    tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._fitting: dict[object, int] = {}

    @property
    def smallest(self) -> int:
        """The smallest size that a lack of memory has led to, ``size`` where there was none."""
        return min(self._fitting.values(), default=self.size)

    def each(self, function: Callable[[slice], T], n: int) -> Iterator[T]:
        """Yield the function's result for each batch of rows; a batch that does not fit is tried at half the size.

        The function may be called again for rows that it did not finish, so it must have no effect before it returns.
        Memory that runs out at a single row raises the error as it came.
        """
        # A function made anew at each call, as a lambda is, is known by its code.
        work, start = getattr(function, "__code__", type(function)), 0
        while start < n:
            size = min(self._fitting.get(work, self.size), n)
            rows = slice(start, min(start + size, n))
            try:
                result = function(rows)
            except (RuntimeError, MemoryError) as error:
                if size == 1 or not out_of_memory(error):
                    raise
            else:
                yield result
                start = rows.stop
                continue
            # Outside the handler: inside it the traceback still holds the tensors of the batch that failed.
            self._fitting[work] = size // 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def cat(self, function: Callable[[slice], Tensor], n: int) -> Tensor:
        """Return the results of all batches, concatenated along the first axis: [n, ...]."""
        return torch.cat(list(self.each(function, n)))


def forward_batches(size: int, images: Tensor) -> Batches:
    """Return batches of images [n, ...] for passes without gradients, larger than ``size`` where that is faster.

    >>> forward_batches(100, torch.zeros(1000, 1, 8, 8)).size, forward_batches(100, torch.zeros(1000, 3, 32, 32)).size
    (200, 100)
    """
    larger = _FORWARD_BATCHES.get(images.device.type, 1) * size
    if images.device.type == "cpu":
        larger = max(size, min(larger, _CPU_IMAGES, _CPU_VALUES // max(1, images[0].numel())))
    return Batches(larger)
