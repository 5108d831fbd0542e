"""Software and hardware under which a value was measured, kept with every record."""

import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any

from measurebench.core.packages import installed_version

__all__ = ["HOST_VARIABLE", "environment"]

HOST_VARIABLE = "MEASUREBENCH_HOST"  # names this machine in records, where its own name says little (containers)

_PACKAGES = ("measurebench", "torch", "torchvision", "numpy", "scipy", "pyautoattack", "robustbench", "timm")


def environment(device: str) -> dict[str, Any]:
    """Return versions of packages, processor, device and threads as plain JSON values.

    ``device`` is ``cpu`` or ``cuda:i``. ``host`` is the machine's name in the network, or what the environment variable
    ``MEASUREBENCH_HOST`` says. The result is the same on every call in one process, since records refer to its digest.
    """
    import torch

    return {
        "host": os.environ.get(HOST_VARIABLE) or platform.node(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": {name: installed_version(name) for name in _PACKAGES},
        "device": _device_name(device),
        "cpu": _cpu_name(),
        "cuda": torch.version.cuda if device.startswith("cuda") else None,
        "cudnn": _cudnn_version() if device.startswith("cuda") else None,
        "threads": torch.get_num_threads(),
    }


def _cudnn_version() -> int | None:
    import torch

    version_number: int | None = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return version_number


def _device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"


@cache
def _cpu_name() -> str:
    """Return the model name of the processor where the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
