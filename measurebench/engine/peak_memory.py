"""How much memory a measure took, of a GPU or of a process."""

import resource
import sys

import torch

__all__ = ["peak_memory", "peak_memory_of_children"]


def peak_memory(device: str) -> int:
    """Return the peak memory in bytes: of the device for this measure, or of this process so far."""
    if device != "cpu":
        return int(torch.cuda.max_memory_allocated(device))
    return _resident(resource.RUSAGE_SELF)


def peak_memory_of_children() -> int:
    """Return the most bytes that any process started and ended by this one held in ordinary memory."""
    return _resident(resource.RUSAGE_CHILDREN)


def _resident(whose: int) -> int:
    peak = resource.getrusage(whose).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
