"""Devices, precision and batch sizes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from measurebench.core.config import Precision
from measurebench.core.errors import BadInputError

# Activations of one batch with gradients may take this much; fixed, so that batches do not depend on what is free.
_BUDGET_BYTES = {"cpu": 256 * 2**20, "cuda": 8 * 2**30}
_LARGEST_BATCH = {"cpu": 256, "cuda": 1024}


def choose_device(device: str, index: int = 0) -> str:
    """Return ``cpu`` or ``cuda:i`` for ``auto``, ``cpu``, ``cuda`` or ``cuda:i``; worker i takes the i-th GPU."""
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


class _Fast(nn.Module):
    """The network under bfloat16 autocast, its logits in float32."""

    def __init__(self, network: nn.Module, device: str) -> None:
        super().__init__()
        self.network = network
        self.device_type = device.partition(":")[0]

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(self.device_type, torch.bfloat16):
            logits: Tensor = self.network(images)
        return logits.float()


def place(network: nn.Module, device: str, precision: Precision) -> nn.Module:
    """Return the network on the device; in ``fast`` precision it computes in bfloat16 where autocast allows."""
    network = network.to(device)
    return _Fast(network, device).eval() if precision == "fast" else network


@contextmanager
def numerics(precision: Precision) -> Iterator[None]:
    """Compute on one CPU thread, deterministically, TF32 only in ``fast`` precision; as before afterwards."""
    threads, matmul = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    cudnn = torch.backends.cudnn
    before = (cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark)
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = precision == "fast"
    cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = precision == "fast", True, False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = matmul
        cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = before


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
