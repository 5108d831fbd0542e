"""The memory of the pretended GPU: what its tensors take, the most they ever took, and its end."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["MEMORY", "Hold", "Memory"]


class Memory:
    """Bytes of all storages that some pretended tensor still holds.

    ``at_release`` keeps how many were held whenever the cache was emptied; ``limit`` is where memory ends.
    """

    def __init__(self) -> None:
        self.allocated = self.peak = 0
        self.at_release: list[int] = []
        self.limit: int | None = None
        self._holders: dict[int, int] = {}

    def take(self, key: int, size: int) -> None:
        if key not in self._holders:
            if self.limit is not None and self.allocated + size > self.limit:
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes.")
            self.allocated += size
            self.peak = max(self.peak, self.allocated)
        self._holders[key] = self._holders.get(key, 0) + 1

    def give_back(self, key: int, size: int) -> None:
        self._holders[key] -= 1
        if self._holders[key] == 0:
            del self._holders[key]
            self.allocated -= size

    def forget_peak(self, *_device: object) -> None:
        self.peak = self.allocated

    def empty_cache(self) -> None:
        self.at_release.append(self.allocated)

    @contextmanager
    def limited(self, n_bytes: int) -> Iterator[None]:
        """Let memory end so many bytes above what is held now."""
        before, self.limit = self.limit, self.allocated + n_bytes
        try:
            yield
        finally:
            self.limit = before


MEMORY = Memory()


class Hold:
    """Counts a storage for as long as it lives: an attribute of a tensor, which must not be referenced weakly."""

    __slots__ = ("key", "size")

    def __init__(self, host: Tensor) -> None:
        storage = host.untyped_storage()
        key, self.size = storage.data_ptr(), storage.nbytes()
        self.key = 0
        if self.size:
            MEMORY.take(key, self.size)
            self.key = key

    def __del__(self, memory: Memory = MEMORY) -> None:  # the default is still there when the interpreter ends
        if self.key:
            memory.give_back(self.key, self.size)
