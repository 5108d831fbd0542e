"""What stands in for ``torch.cuda`` and the functions beside it that ask for a driver."""

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from tests.pretended.counts import note_synchronisation
from tests.pretended.memory import MEMORY
from tests.pretended.tensor import is_gpu, upload

__all__ = ["FREE_BYTES", "NAME", "TOTAL_BYTES", "patch_cuda"]

NAME = "Pretended GPU"
FREE_BYTES, TOTAL_BYTES = 6 * 2**30, 8 * 2**30
_STATE = torch.zeros(16, dtype=torch.uint8)


def _returning(value: Any) -> Callable[..., Any]:
    return lambda *_args, **_kwargs: value


def _synchronize(*_args: Any) -> None:
    note_synchronisation("synchronize")


class _Event:
    """An event of a device that has always done all that it was given."""

    def __init__(self, **_options: Any) -> None:
        pass

    def record(self, _stream: Any = None) -> None:
        pass

    def synchronize(self) -> None:
        note_synchronisation("synchronize")

    def query(self) -> bool:
        return True

    def elapsed_time(self, _other: "_Event") -> float:
        return 0.0


def _autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
    return _AUTOCAST("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


_AUTOCAST, _LOAD = torch.autocast, torch.load


def _load(file: Any, map_location: Any = None, **kwargs: Any) -> Any:
    if not is_gpu(map_location):
        return _LOAD(file, map_location=map_location, **kwargs)
    return tree_map_only(Tensor, lambda tensor: upload(tensor, "load"), _LOAD(file, map_location="cpu", **kwargs))


_VALUES: dict[str, Any] = {
    "is_available": True,
    "is_initialized": True,
    "is_bf16_supported": True,
    "current_device": 0,
    "get_device_name": NAME,
    "get_device_capability": (9, 0),
    "get_device_properties": SimpleNamespace(name=NAME, total_memory=TOTAL_BYTES, major=9, minor=0),
    "mem_get_info": (FREE_BYTES, TOTAL_BYTES),
    **dict.fromkeys(
        (
            "_lazy_init",
            "init",
            "manual_seed",
            "manual_seed_all",
            "set_device",
            "set_rng_state",
            "set_rng_state_all",
        )
    ),
}


def _allocated(*_device: Any) -> int:
    return MEMORY.allocated


def _peak(*_device: Any) -> int:
    return MEMORY.peak


def _rng_state(device: Any = "cuda") -> Tensor:
    note_synchronisation(f"random state of {device}")
    return _STATE


def patch_cuda(patch: pytest.MonkeyPatch, n_devices: int) -> None:
    """Let GPUs seem to be there."""
    memory = {
        "empty_cache": MEMORY.empty_cache,
        "max_memory_allocated": _peak,
        "max_memory_reserved": _peak,
        "memory_allocated": _allocated,
        "memory_reserved": _allocated,
        "reset_peak_memory_stats": MEMORY.forget_peak,
    }
    for name, function in memory.items():
        patch.setattr(torch.cuda, name, function)
    patch.setattr(torch.cuda, "device_count", _returning(n_devices))
    patch.setattr(torch.cuda, "get_rng_state", _rng_state)
    for name, value in _VALUES.items():
        patch.setattr(torch.cuda, name, _returning(value))
        if hasattr(torch.cuda.random, name):
            patch.setattr(torch.cuda.random, name, _returning(value))
    patch.setattr(torch.cuda, "synchronize", _synchronize)
    patch.setattr(torch.cuda, "Event", _Event)
    patch.setattr(torch.cuda, "device", _returning(contextlib.nullcontext()))
    patch.setattr(torch, "autocast", _autocast)
    patch.setattr(torch, "load", _load)
