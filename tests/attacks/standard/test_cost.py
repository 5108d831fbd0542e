"""What a robust image costs: passes counted outside of the engine, beside those of the published attacks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from measurebench.attacks.standard import StandardSettings, evaluation, networks, standard_attack
from measurebench.attacks.standard.losses import margin
from measurebench.core.threat import Norm, ThreatModel

PUBLISHED = 203 + 9 * 203 + 9 * 300 + 5000  # 9,730: APGD-CE, APGD-T, FAB-T and Square
SHORT = StandardSettings(apgd_steps=10, fab_steps=10, square_queries=400)
RADII = {Norm.LINF: "1/255", Norm.L2: "0.1"}


class Passes:
    """Counts the rows that go into networks, forward and back; copies that fill a batch of four are counted apart."""

    def __init__(self) -> None:
        self.n = self.copies = 0

    def on(self, network: nn.Module) -> None:
        network.register_forward_hook(self._forward)

    def _forward(self, _: nn.Module, inputs: tuple[Tensor, ...], logits: Tensor) -> None:
        points = inputs[0].detach()
        same = (points == points[-1:]).flatten(1).all(1).flip(0)
        copies = int(same.int().cumprod(0).sum()) - 1 if len(points) == 4 else 0
        self._add(len(points), copies)
        if logits.requires_grad:
            logits.register_hook(lambda slope: self._add(len(slope), copies))

    def _add(self, rows: int, copies: int) -> None:
        self.n += rows - copies
        self.copies += copies


@contextmanager
def counted(network: nn.Module) -> Iterator[Passes]:
    """Count the passes of a network and of the copies of it that search; the calibration of those is left out."""
    passes = Passes()
    passes.on(network)
    made, calibrated = evaluation.search_networks, evaluation.calibrated

    def counted_copies(*args: Any) -> list[networks.Candidate]:
        choices = made(*args)
        for _, call in choices:
            passes.on(call.network if isinstance(call, networks.Reference) else call)
        return choices

    def uncounted(*args: Any) -> Any:
        before = passes.n, passes.copies
        choice = calibrated(*args)
        passes.n, passes.copies = before
        return choice

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "search_networks", counted_copies)
        patch.setattr(evaluation, "calibrated", uncounted)
        yield passes


class Steady(nn.Module):
    """Images of gentle slopes: every search gains something, FAB crosses boundaries far away, and none succeeds."""

    def __init__(self, folds: bool) -> None:
        super().__init__()
        middle = [nn.BatchNorm2d(6)] if folds else []
        self.body = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), *middle, nn.Softplus(), nn.Flatten())
        self.last = nn.Linear(6 * 64, 10)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * parameter[0].numel() ** -0.5
        self.eval()
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.last(self.body(images))
        return logits


def cost(n: int, norm: Norm, settings: StandardSettings, folds: bool = False) -> float:
    """Return the passes per image on n images that withstand all attacks."""
    network = Steady(folds)
    images = torch.rand(40 * n, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    logits = network(images)
    labels = logits.argmax(1)
    clearest = margin(logits, labels).argsort(descending=True)[:n]
    images, labels = images[clearest], labels[clearest]
    threat, keys = ThreatModel.parse(norm.value, RADII[norm]), torch.arange(n)
    with counted(network) as passes:
        result = standard_attack(network, images, labels, threat, keys=keys, seed=0, n_classes=10, settings=settings)
    assert bool(result.robust.all())
    assert bool((result.margins < margin(network(images), labels)).all())  # every image was searched
    own = result.n_forward + result.n_backward
    assert passes.n >= int(own.sum())
    # No image pays for another: beside its own count it has four passes in the checks and one in the audit.
    assert int(own.max()) + 5 <= published(settings)
    return passes.n / n


def published(settings: StandardSettings) -> int:
    """Return what the published attacks need: Square one pass a query, the others as their papers say."""
    ascent = 2 * (settings.apgd_steps + 1) + 1
    return 10 * ascent + 9 * 3 * settings.fab_steps + settings.square_queries


def test_the_published_settings_cost_as_the_paper_says() -> None:
    assert published(StandardSettings()) == PUBLISHED


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("n", [1, 4, 33])
def test_a_robust_image_costs_no_more_passes_than_published(n: int, norm: Norm) -> None:
    """Square tries several candidates of a row at once only for as many passes in vain as the row has to spare."""
    assert cost(n, norm, SHORT) <= published(SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("folds", [False, True])
@pytest.mark.parametrize(("n", "norm"), [(33, Norm.LINF), (4, Norm.LINF), (4, Norm.L2)])
def test_the_full_schedule_costs_the_published_passes(n: int, norm: Norm, folds: bool) -> None:
    assert cost(n, norm, StandardSettings(), folds) <= PUBLISHED
