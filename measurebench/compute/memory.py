"""How much memory a device has left for this process."""

import torch

__all__ = ["free_bytes", "share_gpu"]

_SHARING = [1]  # processes that share the GPU of this one


def free_bytes(device: torch.device | str) -> int | None:
    """Return the bytes that a GPU can still give this process, None for the CPU, whose memory others share.

    Memory that torch's allocator has reserved and does not use counts as free. Of the rest, processes that share the
    GPU (``share_gpu``) get equal parts.

    >>> free_bytes("cpu") is None
    True
    """
    place = torch.device(device)
    if place.type != "cuda":
        return None
    unused = torch.cuda.memory_reserved(place) - torch.cuda.memory_allocated(place)
    return int(torch.cuda.mem_get_info(place)[0] // _SHARING[0] + max(unused, 0))


def share_gpu(n: int) -> None:
    """Say that ``n`` processes, this one among them, share its GPU: each then takes its part of what is free."""
    _SHARING[0] = max(1, n)
