"""The engine of AutoAttack on the pretended GPU: the CPU's verdicts and images, and few waits per iteration."""

from typing import Any

import pytest
import torch

from tests.pretended import counting, pretended_gpu
from tests.pretended.counts import Counts
from tests.pretended.subjects import THREATS, examples, network, on_both, same

engine = pytest.importorskip("measurebench.attacks.standard.engine", reason="the engine is not part of this version")

N = 6


def attacked(device: str, norm: str, steps: int = 4, **options: Any) -> tuple[Any, Counts]:
    """Return the engine's result for a few images, and what it asked of the device."""
    from measurebench.attacks.standard.settings import StandardSettings

    net = network("convolutional")
    images, labels = examples(net, N)
    settings = StandardSettings(apgd_steps=steps, fab_steps=steps, square_queries=4 * steps, targets=2, **options)
    net, images, labels = net.to(device), images.to(device), labels.to(device)
    with counting() as counts:
        found = engine.standard_attack(
            net,
            images,
            labels,
            THREATS[norm],
            keys=torch.arange(N, device=device),
            seed=0,
            n_classes=10,
            settings=settings,
        )
    return found, counts


@pytest.mark.parametrize("norm", THREATS)
def test_the_engine_finds_on_the_gpu_what_it_finds_on_the_cpu(norm: str) -> None:
    (plain, _), (there, _) = on_both(lambda device: attacked(device, norm))
    for name in ("adversarial", "clean", "robust", "failed", "broken_by", "rank", "step", "margins", "distances"):
        assert same(getattr(plain, name), getattr(there, name)), name
    assert plain.flags == there.flags


# Waits and operations per iteration of all searches side by side: 2 and 106 for APGD, 13 and 629 for FAB (it searches
# for its projections step by step), 1.25 and 14 for Square with 16 candidates at once, measured with room for a little
# more.
BOUNDS = {"apgd-ce": (3, 150), "apgd-t": (3, 150), "fab-t": (14, 700), "square": (2, 30)}


@pytest.mark.parametrize("attack", BOUNDS)
def test_an_iteration_of_the_engine_waits_a_few_times_and_issues_few_operations(attack: str) -> None:
    with pretended_gpu():
        (_, few), (_, many) = (attacked("cuda", "Linf", steps, attacks=(attack,), candidates=16) for steps in (2, 6))
    iterations = 16 if attack == "square" else 4
    waits, operations = BOUNDS[attack]
    assert (many.synchronisations - few.synchronisations) / iterations <= waits
    assert (many.operations - few.operations) / iterations <= operations
    assert many.by_undetermined == {}
