"""Counts the floating-point operations of a network's forward pass."""

import copy

import torch
from torch import Tensor, nn

from measurebench.core.digests import digest_json
from measurebench.core.specs import ModelSpec

__all__ = ["architecture_key", "flops_of", "forward_flops"]

_COUNTED: dict[str, int | None] = {}  # by architecture and shape of the image


def architecture_key(spec: ModelSpec) -> str:
    """Return what stands for a model's architecture: models that share it have equal costs per image."""
    name = spec.architecture or f"{spec.source}:{spec.locator}"
    return digest_json([name, {str(key): repr(value) for key, value in spec.architecture_kwargs.items()}])


def flops_of(spec: ModelSpec, network: nn.Module, image: Tensor) -> int | None:
    """Return ``forward_flops``, counted once for each architecture and shape of ``image`` [1, ...] in this process."""
    key = f"{architecture_key(spec)} {tuple(image.shape)}"
    if key not in _COUNTED:
        _COUNTED[key] = forward_flops(network, image)
    return _COUNTED[key]


def forward_flops(network: nn.Module, image: Tensor) -> int | None:
    """Return the operations of one forward pass of ``image`` [1, ...]; None for a network that cannot be counted.

    A multiplication and an addition are two operations. The pass is made by a copy and draws no random numbers from
    the streams of the program, so that a network that changes from call to call is not changed here.
    """
    from torch.utils.flop_counter import FlopCounterMode

    devices = [image.device] if image.is_cuda else []
    try:
        with torch.random.fork_rng(devices), torch.no_grad(), FlopCounterMode(display=False) as counter:
            copy.deepcopy(network)(image)
    except (Exception, SystemExit):  # noqa: BLE001 - a network that cannot be copied or counted costs only the prediction
        return None
    return int(counter.get_total_flops()) or None
