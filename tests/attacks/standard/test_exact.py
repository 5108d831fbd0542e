"""Ours equals pyautoattack one image at a time in float64: the verdict, and the adversarial image to 1e-12."""

import pytest
import torch

from measurebench.attacks.standard import ATTACKS, StandardSettings, standard_attack
from measurebench.core.threat import Norm
from tests.attacks.standard.stock import examples, radius_that_splits, small_network, stock_alone

SEED = 3
# Enough steps for APGD's shrinking intervals and for three changes of Square's window.
SHORT = {"apgd_steps": 40, "fab_steps": 15, "square_queries": 220}
N = {"apgd-ce": 8, "apgd-t": 6, "fab-t": 6, "square": 8}


def compare(name: str, norm: Norm, n: int, n_classes: int, options: dict, **more: object) -> None:
    network = small_network(n_classes)
    images, labels = examples(network, n)
    threat = radius_that_splits(network, images, labels, norm)
    settings = StandardSettings(attacks=(name,), **options)
    keys = torch.arange(100, 100 + n)
    result = standard_attack(
        network, images, labels, threat, keys=keys, seed=SEED, n_classes=n_classes, settings=settings, **more
    )
    targets = min(9, n_classes - 1)
    for i in range(n):
        one = images[i : i + 1], labels[i : i + 1], int(keys[i])
        expected = stock_alone(name, network, *one, threat, settings, SEED, targets)
        assert (network(expected).argmax(1) != labels[i]).item() == (not result.robust[i])
        torch.testing.assert_close(result.adversarial[i : i + 1], expected, atol=1e-12, rtol=0)
    broken = int((~result.robust).sum())
    assert 0 < broken < n  # else one kind of verdict would go untested


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_equals_the_published_one(name: str, norm: Norm) -> None:
    compare(name, norm, N[name], 10, SHORT)
