"""Networks, contexts and settings for tests on the pretended GPU: what is renamed elsewhere is renamed here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

from measurebench.attacks.protocol import AttackContext
from measurebench.core.threat import ThreatModel
from measurebench.measures.context import MeasureContext, MeasureSettings
from measurebench.testing.small_networks import strided, with_statistics
from tests.attacks.short import shorten_autoattack
from tests.pretended import pretended_gpu

__all__ = [
    "THREATS",
    "attack_context",
    "examples",
    "measure_context",
    "network",
    "on_both",
    "same",
    "short_autoattack",
]

THREATS = {"Linf": ThreatModel.parse("Linf", "1/16"), "L2": ThreatModel.parse("L2", "1/2")}
T = TypeVar("T")


def network(kind: str, seed: int = 0, width: int = 2) -> nn.Module:
    """Return a small frozen network of 10 classes on 1x8x8 images."""
    torch.manual_seed(seed)
    return with_statistics(strided(kind, width)).eval().requires_grad_(False)


def examples(net: nn.Module, n: int) -> tuple[Tensor, Tensor]:
    """Return random images, labelled by the network itself but for every fourth."""
    images = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = net(images).argmax(1)
    labels[::4] = (labels[::4] + 1) % 10
    return images, labels


def measure_context(device: str, kind: str, n: int, **options: Any) -> MeasureContext:
    """Return a context of a small network and n examples on a device."""
    net, initial = network(kind), network(kind, seed=9)
    images, labels = examples(net, n)
    settings = MeasureSettings(THREATS["Linf"])
    net, initial = net.to(device), initial.to(device)
    return MeasureContext(net, images.to(device), labels.to(device), settings, initial_network=initial, **options)


def attack_context(device: str, norm: str, n: int, target: int | None = None) -> AttackContext:
    """Return what an attack is given for n examples on a device."""
    targets = None if target is None else torch.full((n,), target, device=device)
    return AttackContext(THREATS[norm], torch.arange(n, device=device), targets=targets, n_classes=10)


def on_both(compute: Callable[[str], T]) -> tuple[T, T]:
    """Return what a function of the device gives on the CPU and on the pretended GPU."""
    plain = compute("cpu")
    with pretended_gpu():
        return plain, compute("cuda")


def same(one: Any, other: Any) -> bool:
    """Tell whether two results agree to the last bit, NaN in the same places."""
    if not isinstance(one, Tensor):
        return bool(one == other) or (one != one and other != other)
    a, b = one.detach(), other.detach().cpu()
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.nan_to_num(nan=77.5), b.nan_to_num(nan=77.5))


@contextmanager
def short_autoattack(n_iter: int = 3, n_queries: int = 10) -> Iterator[None]:
    """Give AutoAttack few steps, classes and queries: what is tested is where its tensors lie."""
    with pytest.MonkeyPatch.context() as patch:
        shorten_autoattack(patch, n_iter, n_iter, n_queries, targets=2)
        yield
