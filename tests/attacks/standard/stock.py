"""pyautoattack one image at a time, in float64, with random numbers from our streams: what our engine must equal."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from measurebench.attacks.standard import StandardSettings, streams
from measurebench.core.threat import Norm, ThreatModel

SILENT = logging.getLogger("stock")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


class Draws:
    """An example's stream, read from its beginning on, through the calls that pyautoattack makes."""

    def __init__(self, key: int, *stream: object) -> None:
        self.key, self.stream, self.place = torch.tensor([key]), stream, 0

    def _next(self, draw: object, shape: Sequence[int]) -> Tensor:
        count = int(torch.Size(shape).numel())
        numbers = draw(self.key, torch.tensor([self.place]), (count,), *self.stream, dtype=torch.float64)
        self.place += count
        return numbers.reshape(tuple(shape))

    def rand(self, shape: Sequence[int]) -> Tensor:
        return self._next(streams.uniform, shape)

    def randn(self, shape: Sequence[int]) -> Tensor:
        return self._next(streams.normal, shape)


@contextmanager
def _double(draws: Draws) -> Iterator[None]:
    """Make pyautoattack compute in float64 and draw from the stream; it casts to float32 by name."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
            patch.setattr(torch.Tensor, "float", torch.Tensor.double)
            patch.setattr(torch, "rand", draws.rand)
            patch.setattr(torch, "randn", draws.randn)
            yield
    finally:
        torch.set_default_dtype(before)


def _attack(name: str, network: nn.Module, threat: ThreatModel, settings: StandardSettings, n_targets: int) -> object:
    common = {"norm": threat.norm.value, "eps": threat.radius, "seed": 0, "device": torch.device("cpu")}
    if name == "apgd-ce":
        return APGDAttack(network, n_iter=settings.apgd_steps, logger=SILENT, **common)
    if name == "apgd-t":
        return APGDAttack_targeted(
            network, n_iter=settings.apgd_steps, n_target_classes=n_targets, logger=SILENT, **common
        )
    if name == "fab-t":
        return FABAttack_PT(network, n_iter=settings.fab_steps, targeted=True, n_target_classes=n_targets, **common)
    return SquareAttack(network, n_queries=settings.square_queries, resc_schedule=False, **common)


def stock_alone(
    name: str,
    network: nn.Module,
    image: Tensor,
    label: Tensor,
    key: int,
    threat: ThreatModel,
    settings: StandardSettings,
    seed: int,
    n_targets: int,
) -> Tensor:
    """Return what the published attack makes of one image [1, C, H, W]."""
    with _double(Draws(key, seed, "standard", name)):
        attack = _attack(name, network, threat, settings, n_targets)
        return attack.perturb(image.clone(), label.clone()).detach()


def small_network(n_classes: int = 10, channels: int = 3, side: int = 10, seed: int = 0) -> nn.Module:
    """Return a smooth network in float64, whose images are broken or not as the radius says."""
    generator = torch.Generator().manual_seed(seed)
    first = nn.Conv2d(channels, 6, 3, stride=2, padding=1)
    last = nn.Linear(6 * ((side + 1) // 2) ** 2, n_classes)
    network = nn.Sequential(first, nn.Softplus(), nn.Flatten(), last).double().eval().requires_grad_(False)
    for parameter in network.parameters():
        scale = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
        parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * scale)
    return network


def examples(network: nn.Module, n: int, channels: int = 3, side: int = 10, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Return images [n, C, H, W] in float64, some pixels black or white, and the classes the network gives them."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(n, channels, side, side, generator=generator, dtype=torch.float64)
    images = (1.2 * images - 0.1).clamp(0, 1)
    return images, network(images).argmax(1)


def radius_that_splits(
    network: nn.Module, images: Tensor, labels: Tensor, norm: Norm, share: float = 0.5
) -> ThreatModel:
    """Return a threat model whose radius exceeds the linearised distance to the boundary for this share of images."""
    points = images.clone().requires_grad_(True)
    with torch.enable_grad():
        logits = network(points)
        second = logits.scatter(1, labels[:, None], -torch.inf).argmax(1)
        margins = logits.gather(1, labels[:, None]) - logits.gather(1, second[:, None])
        (gradient,) = torch.autograd.grad(margins.sum(), points)
    flat = gradient.flatten(1)
    slope = flat.abs().sum(1) if norm is Norm.LINF else flat.norm(dim=1)
    return ThreatModel.parse(norm.value, round(float((margins.detach()[:, 0] / slope).quantile(share)), 4))
