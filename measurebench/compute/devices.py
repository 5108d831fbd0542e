"""Chooses devices and the number of worker processes, and tells when a device is lost."""

import os
import time
from typing import Literal

import torch

from measurebench.core.errors import BadInputError

__all__ = ["choose_device", "clock", "is_lost", "n_workers", "workers_per_gpu"]


def choose_device(device: str, index: int = 0) -> str:
    """Return ``cpu`` or ``cuda:i`` for ``auto``, ``cpu``, ``cuda`` or ``cuda:i``.

    ``auto`` and ``cuda`` spread workers over the GPUs: worker ``index`` gets GPU ``index`` modulo their number. On a
    machine without a GPU ``auto`` is the CPU. Raises BadInputError for any other word and for a GPU that is not there.

    >>> choose_device("cpu")
    'cpu'
    """
    n_gpus = torch.cuda.device_count()
    if device == "auto":
        return f"cuda:{index % n_gpus}" if n_gpus else "cpu"
    if device == "cpu":
        return "cpu"
    name, _, number = device.partition(":")
    if name != "cuda" or (number and not number.isdigit()):
        raise BadInputError("--device", "auto, cpu, cuda or cuda:i", repr(device))
    if not n_gpus or (number and int(number) >= n_gpus):
        raise BadInputError("--device", "a CUDA device of this machine", repr(device), f"it has {n_gpus}")
    return device if number else f"cuda:{index % n_gpus}"


def clock(device: torch.device | str) -> float:
    """Return a clock's reading in seconds, after the device has finished all work that was queued on it."""
    # CUDA runs behind the program: without waiting, the time of a measure would be charged to the next one.
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def n_workers(workers: int | Literal["auto"], device: str, n_tasks: int) -> int:
    """Return how many processes to use: for ``auto`` one per GPU, or one per core on a CPU; never more than tasks.

    At least one, also without tasks. Raises BadInputError for a number below 1.

    >>> n_workers(4, "cpu", n_tasks=3)
    3
    """
    if workers == "auto":
        gpus = torch.cuda.device_count() if device in ("auto", "cuda") else int(device.startswith("cuda:"))
        workers = gpus or _cores()
    elif isinstance(workers, bool) or workers < 1:
        raise BadInputError("--workers", "auto or a whole number, at least 1", repr(workers))
    return max(1, min(workers, n_tasks))


def workers_per_gpu(workers: int | Literal["auto"], device: str) -> int:
    """Return how many local worker processes share each GPU, 1 for ``auto``.

    Workers are spread over the GPUs that ``device`` means; where they do not divide evenly, the GPU with most counts.

    >>> workers_per_gpu(4, "cuda:0"), workers_per_gpu("auto", "cuda:0")
    (4, 1)
    """
    if workers == "auto":
        return 1
    gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 1
    return max(1, -(-workers // max(1, gpus)))


def _cores() -> int:
    """Return how many cores this process may use; a container or a scheduler may allow fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_lost(error: BaseException) -> bool:
    """Tell whether an error leaves this process without its GPU: every later call to the GPU fails too.

    Illegal memory access, a failed assertion on the device and a hardware fault are such errors. Memory that ran out
    is not: freeing some is enough to go on.

    >>> is_lost(RuntimeError("shapes do not match"))
    False
    """
    return isinstance(error, torch.AcceleratorError) and "out of memory" not in str(error)
