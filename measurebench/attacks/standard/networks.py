"""The two networks of the evaluation: the reference, which judges, and a faster one, which may search.

The searching network is calibrated against the reference. One that differs too much, or whose last layer computes
in 16 bits, is not used; the reference itself is the last resort.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from measurebench.attacks.standard.folding import folded
from measurebench.attacks.standard.losses import margin

__all__ = ["Calibration", "Candidate", "Reference", "calibrated", "coarse", "half_body", "search_networks"]

# A searching network whose margins are off by more than this share of the usual margin would search elsewhere.
_LARGEST_SHARE = 0.1
Candidate = tuple[str, Callable[[Tensor], Tensor]]


@contextmanager
def _exact(device: torch.device) -> Iterator[None]:
    """Compute float32 products in float32: TF32 keeps 10 bits of them."""
    if device.type != "cuda":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
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
        with _exact(images.device):
            logits: Tensor = self.network(images)
        return logits


class _Head(nn.Module):
    """The last linear layer in float32, whatever comes in."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer.float()

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.layer(features.float())
        return logits


class _HalfBody(nn.Module):
    """A network of 16-bit weights, cast once, with a float32 head."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.to(self.dtype, memory_format=torch.channels_last))
        return logits.float()


def half_body(network: nn.Module, dtype: torch.dtype = torch.bfloat16) -> nn.Module | None:
    """Return a copy whose layers compute in ``dtype``, but whose last linear layer computes in float32.

    None where no linear layer is found to be the last.
    """
    found = [(name, module) for name, module in network.named_modules() if type(module) is nn.Linear]
    if not found:
        return None
    place, head = found[-1]
    body = (folded(network) or copy.deepcopy(network)).to(dtype)
    body = body.to(memory_format=torch.channels_last)
    parent, _, name = place.rpartition(".")
    setattr(body.get_submodule(parent) if parent else body, name, _Head(copy.deepcopy(head)))
    return _HalfBody(body, dtype).requires_grad_(False).eval()


def search_networks(network: Any, fast: bool) -> list[Candidate]:
    """Return the networks that may search, the fastest first; the reference is not among them."""
    if not isinstance(network, nn.Module):
        return []
    choices: list[Candidate] = []
    try:
        half = half_body(network) if fast else None
    except Exception:  # noqa: BLE001  a network that cannot be copied or cast is searched as it is
        half = None
    if half is not None:
        choices.append(("16-bit layers, float32 head", half))
    if (plain := folded(network)) is not None:
        choices.append(("batch norm folded", Reference(plain)))
    return choices


def coarse(logits: Tensor) -> bool:
    """Tell whether all logits [n, K] are numbers of 16 bits, as those of a 16-bit last layer are."""
    if logits.dtype not in (torch.float32, torch.float64) or not bool(torch.isfinite(logits).all()):
        return logits.dtype not in (torch.float32, torch.float64)
    kept = (logits.to(dtype).to(logits.dtype) == logits for dtype in (torch.bfloat16, torch.float16))
    return logits.numel() > 0 and any(bool(same.all()) for same in kept) and bool((logits != logits.round()).any())


@dataclass(frozen=True)
class Calibration:
    """The network that searches: ``call``, its ``name``, and its largest ``difference`` of margins (0: the judge)."""

    name: str
    call: Callable[[Tensor], Tensor]
    difference: float
    refused: tuple[str, ...] = ()

    @property
    def is_reference(self) -> bool:
        """Whether the judge searches itself."""
        return isinstance(self.call, Reference) and self.name == "reference"


def calibrated(
    reference: Reference, choices: list[Candidate], images: Tensor, labels: Tensor, expected: Tensor
) -> Calibration:
    """Return the first of the networks whose margins at ``images`` [n, ...] are near enough to the reference's.

    ``expected`` [n, K] are the reference's logits there. Rows where they are not finite are left out.
    """
    refused: list[str] = []
    true = margin(expected, labels)
    known = torch.isfinite(expected).all(1)
    usual = float(true[known].abs().median()) if bool(known.any()) else 0.0
    for name, network in choices:
        with torch.no_grad():
            logits = torch.cat([network(part) for part in torch.split(images, 256)])
        difference = float((margin(logits, labels) - true)[known].abs().amax()) if bool(known.any()) else float("nan")
        if coarse(logits):
            refused.append(f"{name}: its last layer computes in 16 bits")
        elif not difference <= _LARGEST_SHARE * usual:  # also where it is NaN
            refused.append(f"{name}: margins differ by up to {difference:.3g}, the usual margin is {usual:.3g}")
        else:
            return Calibration(name, network, difference, tuple(refused))
    return Calibration("reference", reference, 0.0, tuple(refused))
