"""Chooses how many images pass through a network at once, from the memory that one image needs."""

import torch
from torch import Tensor, nn

from measurebench.compute.memory import free_bytes

__all__ = ["automatic_batch_size"]

# The activations of one batch, with gradients, may take this much of a processor's memory, which several workers share,
# and this share of what is free on a GPU.
_CPU_BYTES = 256 * 2**20
_GPU_SHARE = 3
_LARGEST_BATCH = {"cpu": 256, "cuda": 1024}


def automatic_batch_size(network: nn.Module, image: Tensor, device: str) -> int:
    """Return the batch size for a network on ``device``: the largest power of two that fits the memory budget.

    ``image`` is one image [C, H, W]. It is passed through the network once, without gradients, and the bytes of all
    modules' outputs are added up. A backward pass keeps each output and its gradient; the factor 3 leaves room for
    both. An image that needs more than the budget gives 1. On a GPU the budget is a share of the free memory; sums over
    examples are taken in float64, so that a value does not depend on the batches beyond its last digits.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> automatic_batch_size(network, torch.zeros(1, 8, 8), "cpu")
    256
    """
    kind = device.partition(":")[0]
    free = free_bytes(device)
    budget = _CPU_BYTES if free is None else free // _GPU_SHARE
    per_image = 3 * _activation_bytes(network, image)
    fitting = max(1, min(_LARGEST_BATCH[kind], budget // max(per_image, 1)))
    return 1 << (fitting.bit_length() - 1)


def _activation_bytes(network: nn.Module, image: Tensor) -> int:
    total = 0

    def count(_module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal total
        if isinstance(output, Tensor):
            total += output.numel() * output.element_size()

    hooks = [module.register_forward_hook(count) for module in network.modules() if not list(module.children())]
    try:
        with torch.no_grad():
            network(image[None])
    finally:
        for hook in hooks:
            hook.remove()
    return total
