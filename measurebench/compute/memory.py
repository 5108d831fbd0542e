"""How much memory a device has left for this process."""

import torch

__all__ = ["free_bytes"]


def free_bytes(device: torch.device | str) -> int | None:
    """Return the bytes that a GPU can still give this process, None for the CPU, whose memory others share.

    Memory that torch's allocator has reserved and does not use counts as free.

    >>> free_bytes("cpu") is None
    True
    """
    place = torch.device(device)
    if place.type != "cuda":
        return None
    unused = torch.cuda.memory_reserved(place) - torch.cuda.memory_allocated(place)
    return int(torch.cuda.mem_get_info(place)[0] + max(unused, 0))
