from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from measurebench.attacks.perform import attacked, perform
from measurebench.attacks.protocol import AttackContext, AttackInfo, AttackResult
from measurebench.compute.batching import Batches
from measurebench.core.errors import ModelError
from measurebench.core.threat import ThreatModel

IMAGES = torch.full((7, 1, 2, 2), 0.5)
LABELS = torch.zeros(7, dtype=torch.int64)
CONTEXT = AttackContext(ThreatModel.parse("Linf", "1/10"), torch.arange(7), n_classes=2)
NETWORK = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))


NOTING = AttackInfo("noting", "Noting", "here")


@dataclass(frozen=True)
class Noting:
    """Notes what it was given, writes into it, and says things of every batch."""

    info: AttackInfo = NOTING
    calls: list[Any] = field(default_factory=list)

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, context: AttackContext) -> AttackResult:
        self.calls.append(context.keys.tolist())
        found = images.double() + 0.05
        images.zero_()
        labels.zero_()
        return AttackResult(found, ("once",), len(images), {"seen": len(images)})


def test_batches_are_joined_in_order_with_flags_once_and_counts_summed() -> None:
    attack = Noting()
    result = attacked(attack, NETWORK, IMAGES, LABELS, CONTEXT, Batches(3))
    assert attack.calls == [[0, 1, 2], [3, 4, 5], [6]]
    assert result.flags == ("once",)
    assert result.counts == {"seen": 7}
    assert result.n_passes == round((9 + 9 + 1) / 7)
    assert result.adversarial.dtype == torch.float32
    torch.testing.assert_close(result.adversarial, torch.full_like(IMAGES, 0.55))


def test_an_attack_that_takes_all_images_gets_them_in_one_call() -> None:
    attack = Noting(AttackInfo("noting", "Noting", "here", whole=True))
    attacked(attack, NETWORK, IMAGES, LABELS, CONTEXT, Batches(3))
    assert attack.calls == [list(range(7))]


def test_inputs_are_copies_for_registered_attacks_too() -> None:
    outcome = perform(Noting(), NETWORK, IMAGES, LABELS, CONTEXT)
    assert bool((IMAGES == 0.5).all())
    torch.testing.assert_close(outcome.distances, torch.full((7,), 0.05, dtype=torch.float64))
    assert outcome.counts == {"seen": 7}


def test_too_few_classes_are_an_error_of_the_model() -> None:
    attack = Noting(AttackInfo("noting", "Noting", "here", min_classes=3))
    with pytest.raises(ModelError, match="Noting: expected at least 3 classes, got 2"):
        perform(attack, NETWORK, IMAGES, LABELS, CONTEXT)
