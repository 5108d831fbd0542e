"""The networks of the evaluation: the reference, which judges, and faster ones, which may search."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from measurebench.attacks.standard.folding import folded
from measurebench.attacks.standard.rewriting import rewritten

__all__ = ["Candidate", "Reference", "Tf32", "coarse", "half_body", "is_float16", "search_networks", "tf32"]

Candidate = tuple[str, Callable[[Tensor], Tensor]]


@contextmanager
def tf32(device: torch.device, allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 on a GPU, which keeps 10 bits of the factors of float32 products."""
    if device.type != "cuda":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


@dataclass(frozen=True)
class Reference:
    """The network whose verdicts count, in the precision of its weights, without TF32."""

    network: nn.Module | Callable[[Tensor], Tensor]

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits [n, K] of images [n, ...]."""
        with tf32(images.device, False):
            logits: Tensor = self.network(images)
        return logits


# Layers that compute in 16 bits. All other modules, and what stands before the first convolution or linear layer (the
# normalisation of the images, whose difference of near numbers 16 bits would spoil), keep their float32.
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
_PRODUCTS = (nn.modules.conv._ConvNd, nn.Linear)
_LAYERS = (*_PRODUCTS, *_NORMS, nn.PReLU, nn.MultiheadAttention)


class _HalfBody(nn.Module):
    """A network whose layers have 16-bit weights, cast once, between a float32 beginning and a float32 head."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.to(torch.float32, memory_format=torch.channels_last))
        return logits.float()


def _as_its_weights(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Cast what comes into a layer, [n, ...], to the type of its weights: the only place where types change."""
    dtype = next((p.dtype for p in layer.parameters() if p.is_floating_point()), None)
    return tuple(x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() and dtype else x for x in inputs)


def half_body(network: nn.Module, dtype: torch.dtype = torch.bfloat16) -> nn.Module | None:
    """Return a copy whose layers compute in ``dtype``, but for the normalisation of the images and the last layer.

    Both compute in float32: whatever comes before the first convolution or linear layer, and the last linear layer.
    None where no linear layer is found to be the last.
    """
    body = (folded(network) or copy.deepcopy(network)).float().to(memory_format=torch.channels_last)
    layers = [module for module in body.modules() if isinstance(module, _LAYERS)]
    linear = [module for module in layers if type(module) is nn.Linear]
    if not linear:
        return None
    first = next(place for place, module in enumerate(layers) if isinstance(module, _PRODUCTS))
    for place, layer in enumerate(layers):
        if place >= first and layer is not linear[-1]:
            layer.to(dtype)
        layer.register_forward_pre_hook(_as_its_weights)
    return _HalfBody(body).requires_grad_(False).eval()


def is_float16(network: Any) -> bool:
    """Return whether a network has float16 layers, whose gradients need to be kept within their range."""
    return isinstance(network, nn.Module) and any(p.dtype == torch.float16 for p in network.parameters())


@dataclass(frozen=True)
class Tf32:
    """A network whose float32 products may be computed on the tensor cores of a GPU (see ``tf32``)."""

    network: nn.Module

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits [n, K] of images [n, ...]."""
        logits: Tensor = self.network(images)
        return logits


def search_networks(network: Any, fast: bool, images: Tensor | None = None) -> list[Candidate]:
    """Return the networks that may search, the fastest first; the reference is not among them.

    With ``images`` [n, ...] one is rewritten for images like these, where that gains anything on their device. On a
    GPU float16 comes before bfloat16: as fast, with eight times smaller errors, but a smaller range.
    """
    if not isinstance(network, nn.Module):
        return []
    on_gpu = any(p.is_cuda for p in network.parameters())
    choices: list[Candidate] = []
    for dtype in ((torch.float16, torch.bfloat16) if on_gpu else (torch.bfloat16,)) if fast else ():
        try:
            half = half_body(network, dtype)
        except Exception:  # noqa: BLE001  a network that cannot be copied or cast is searched as it is
            half = None
        if half is not None:
            choices.append((f"{str(dtype).removeprefix('torch.')} layers, float32 head", half))
    short = None if images is None else rewritten(network, images)
    plain = folded(network) if short is None else None
    if fast and on_gpu:
        choices.append(("TF32", Tf32(plain or network)))
    if short is not None:
        choices.append(("rewritten for a CPU", Reference(short)))
    if plain is not None:
        choices.append(("batch norm folded", Reference(plain)))
    return choices


def coarse(logits: Tensor) -> bool:
    """Tell whether all logits [n, K] are numbers of 16 bits, as those of a 16-bit last layer are."""
    if logits.dtype not in (torch.float32, torch.float64) or not bool(torch.isfinite(logits).all()):
        return logits.dtype not in (torch.float32, torch.float64)
    kept = (logits.to(dtype).to(logits.dtype) == logits for dtype in (torch.bfloat16, torch.float16))
    return logits.numel() > 0 and any(bool(same.all()) for same in kept) and bool((logits != logits.round()).any())
