"""Chooses how many images pass through a network at once, from the memory that one image needs."""

import torch
from torch import Tensor, nn

__all__ = ["automatic_batch_size"]

# The activations of one batch, with gradients, may take this much. The budget is fixed rather than a share of the free
# memory, so that the same network gets the same batches on every machine of a kind.
_BUDGET_BYTES = {"cpu": 256 * 2**20, "cuda": 8 * 2**30}
_LARGEST_BATCH = {"cpu": 256, "cuda": 1024}


def automatic_batch_size(network: nn.Module, image: Tensor, device: str) -> int:
    """Return the batch size for a network on ``device``: the largest power of two that fits the memory budget.

    ``image`` is one image [C, H, W]. It is passed through the network once, without gradients, and the bytes of all
    modules' outputs are added up. A backward pass keeps each output and its gradient; the factor 3 leaves room for
    both. An image that needs more than the budget gives 1.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> automatic_batch_size(network, torch.zeros(1, 8, 8), "cpu")
    256
    """
    kind = device.partition(":")[0]
    per_image = 3 * _activation_bytes(network, image)
    fitting = max(1, min(_LARGEST_BATCH[kind], _BUDGET_BYTES[kind] // max(per_image, 1)))
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
