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
from tests.attacks.standard.stock import examples, small_network

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
    whole = attack(NETWORK, candidates=1)
    for name in ("robust", "broken_by", "step", "adversarial", "margins"):
        assert torch.equal(getattr(short, name), getattr(whole, name)), name
    assert 0 < int(whole.robust.sum()) < len(IMAGES)
    robust = whole.robust
    assert (whole.n_forward[robust] == QUERIES + 2).all()
    assert (short.n_forward[robust] < 0.7 * QUERIES).all()


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
