"""How a GPU is used at a moment: its memory, and the share of the time in which it computes."""

import os
import platform
from contextlib import suppress

import torch

from measurebench.engine.environment import HOST_VARIABLE
from measurebench.engine.events import now
from measurebench.store.gpu_uses import GpuUse

__all__ = ["gpu_use"]


def gpu_use(device: str) -> GpuUse | None:
    """Return how a GPU is used now; None for ``cpu``, and where the driver does not say."""
    if device == "cpu":
        return None
    try:
        free, total = torch.cuda.mem_get_info(device)
        return GpuUse(
            host=os.environ.get(HOST_VARIABLE) or platform.node(),
            name=torch.cuda.get_device_name(device),
            device=_number_on_the_machine(device),
            used_bytes=int(total - free),
            total_bytes=int(total),
            reserved_bytes=int(torch.cuda.memory_reserved(device)),
            utilization=_utilization(device),
            time=now(),
        )
    except (RuntimeError, OSError):  # a figure for people: measuring goes on without it
        return None


def _number_on_the_machine(device: str) -> str:
    """Return a device by its number among all of the machine; a worker of Ray sees its own alone, as number 0."""
    visible = [word.strip() for word in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if word.strip()]
    index = int(device.partition(":")[2] or 0)
    return f"cuda:{visible[index]}" if index < len(visible) else device


def _utilization(device: str) -> float | None:
    """Return the percentage of the last second in which a GPU computed; None without the package nvidia-ml-py."""
    with suppress(Exception):  # torch asks the driver through that package, which has errors of its own
        return float(torch.cuda.utilization(device))
    return None
