"""Square's moves of known outcome: leaving them out changes no verdict, no image and no iteration."""

import pytest
import torch
from torch import Tensor, nn

from measurebench.attacks.standard import (
    StandardResult,
    StandardSettings,
    repeats,
    square,
    square_search,
    standard_attack,
)
from measurebench.core.threat import Norm, ThreatModel
from tests.attacks.standard.stock import examples, radius_that_splits, small_network

SEED = 5
QUERIES = 400
NETWORK = small_network(channels=1, side=8)
IMAGES, LABELS = examples(NETWORK, 12, channels=1, side=8)


def attack(network: nn.Module, **options: object) -> StandardResult:
    settings = StandardSettings(attacks=("square",), square_queries=QUERIES, **options)
    threat = ThreatModel.parse("Linf", "0.4")
    keys = torch.arange(len(IMAGES))
    return standard_attack(network, IMAGES, LABELS, threat, keys=keys, seed=SEED, n_classes=10, settings=settings)


def test_the_search_is_the_one_that_tries_every_move(monkeypatch: pytest.MonkeyPatch) -> None:
    short = attack(NETWORK)
    monkeypatch.setattr(square_search.repeats, "LARGEST_TABLE", 0)
    longer = attack(NETWORK)  # without the moves that change no pixel
    fickle = property(lambda _: False, lambda _self, _same: None)
    monkeypatch.setattr(square_search.SquareSearch, "same", fickle)
    whole = attack(NETWORK, candidates=1)
    for name in ("robust", "broken_by", "step", "adversarial", "margins"):
        assert torch.equal(getattr(short, name), getattr(whole, name)), name
        assert torch.equal(getattr(longer, name), getattr(whole, name)), name
    assert 0 < int(whole.robust.sum()) < len(IMAGES)
    robust = whole.robust
    assert (whole.n_forward[robust] == QUERIES + 2).all()
    assert (longer.n_forward[robust] < QUERIES).all()
    assert (short.n_forward[robust] < 0.7 * QUERIES).all()


@pytest.mark.parametrize("norm", list(Norm))
def test_few_searches_on_large_images_are_those_that_try_every_move(
    norm: Norm, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = small_network(side=20)
    images, labels = examples(network, 5, side=20)
    near = radius_that_splits(network, images, labels, norm)
    threat = ThreatModel.parse(norm.value, round(3 * near.radius, 4))  # Square needs more room than gradients do
    settings = StandardSettings(attacks=("square",), square_queries=QUERIES)
    options = {"keys": torch.arange(5), "seed": SEED, "n_classes": 10, "settings": settings}
    thrifty = standard_attack(network, images, labels, threat, **options)
    fickle = property(lambda _: False, lambda _self, _same: None)
    monkeypatch.setattr(square_search.SquareSearch, "same", fickle)
    options["settings"] = StandardSettings(attacks=("square",), square_queries=QUERIES, candidates=1)
    whole = standard_attack(network, images, labels, threat, **options)
    for name in ("robust", "broken_by", "step", "adversarial", "margins"):
        assert torch.equal(getattr(thrifty, name), getattr(whole, name)), name
    assert 0 < int(whole.robust.sum()) < 5
    assert (whole.n_forward[whole.robust] == QUERIES + 2).all()
    assert int(thrifty.n_forward.max()) <= QUERIES + 5  # the clean image, and four more passes than queries


def test_a_network_that_changes_from_call_to_call_sees_every_move() -> None:
    class Fickle(nn.Module):
        calls = 0

        def forward(self, points: Tensor) -> Tensor:
            self.calls += 1
            return NETWORK(points) + 1e-2 * (self.calls % 2) * torch.arange(10.0, dtype=points.dtype)

    result = attack(Fickle(), candidates=1)
    assert any("differ from call to call" in flag for flag in result.flags)
    # A row may end before, at an image that a second look does not confirm.
    assert int(result.n_forward.max()) == QUERIES + 2


def test_a_window_ends_where_the_published_schedule_changes_its_side() -> None:
    plan = square.Plan.of(IMAGES, Norm.LINF, 0.1, 60)
    sides = square.window_sizes(60, (1, 8, 8), Norm.LINF)
    for i in range(60):
        following = next((j for j in range(i, 60) if sides[j] != sides[i]), 60)
        assert int(plan.until[i]) == following


def test_there_are_as_many_moves_as_places_and_signs() -> None:
    assert repeats.n_moves((1, 8, 8)) == 64 * 3
    assert repeats.n_moves((3, 32, 32)) == 1024 * 27 <= repeats.LARGEST_TABLE
