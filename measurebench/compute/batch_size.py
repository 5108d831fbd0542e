"""How many images pass through a network at once."""

import torch
from torch import Tensor, nn

__all__ = ["automatic_batch_size"]

# Activations of one batch with gradients may take this much; fixed, so that batches do not depend on what is free.
_BUDGET_BYTES = {"cpu": 256 * 2**20, "cuda": 8 * 2**30}
_LARGEST_BATCH = {"cpu": 256, "cuda": 1024}


def automatic_batch_size(network: nn.Module, image: Tensor, device: str) -> int:
    """Return a power of two: as many images as fit the budget, by the outputs of all modules for one image.

    A backward pass keeps about each module's output and its gradient; the factor 3 leaves room for both.
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
