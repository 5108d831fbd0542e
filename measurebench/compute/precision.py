"""Places a network on its device, in the precision that was asked for."""

import torch
from torch import Tensor, nn

from measurebench.core.config import Precision

__all__ = ["exact", "place"]


class _Fast(nn.Module):
    """The network under bfloat16 autocast, its logits in float32."""

    def __init__(self, network: nn.Module, device: str) -> None:
        super().__init__()
        self.network = network
        self.device_type = device.partition(":")[0]

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(self.device_type, torch.bfloat16):
            logits: Tensor = self.network(images)
        return logits if logits.dtype == torch.float64 else logits.float()


def place(network: nn.Module, device: str, precision: Precision) -> nn.Module:
    """Return the network on the device; in ``fast`` precision it computes in bfloat16 where autocast allows.

    The logits [n, K] come out in float32 either way, and in float64 for a network in float64.
    """
    network = network.to(device)
    return _Fast(network, device).eval() if precision == "fast" else network


def exact(network: nn.Module) -> nn.Module:
    """Return the network that computes in the precision of its weights: the one inside, where ``place`` made it fast.

    >>> network = nn.Linear(2, 2)
    >>> exact(place(network, "cpu", "fast")) is network, exact(network) is network
    (True, True)
    """
    return network.network if isinstance(network, _Fast) else network
