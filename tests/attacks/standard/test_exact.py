"""Ours equals pyautoattack one image at a time in float64: the verdict, and the adversarial image to 1e-12."""

import pytest
import torch

from measurebench.attacks.standard import ATTACKS, StandardSettings, standard_attack
from measurebench.core.threat import Norm
from tests.attacks.standard.stock import examples, radius_that_splits, small_network, stock_alone

SEED = 3
# Enough steps for APGD's shrinking intervals (checkpoints at 5, 9, 12, 14, ...) and two changes of Square's window.
SHORT = {"apgd_steps": 25, "fab_steps": 8, "square_queries": 70}


def compare(names: tuple[str, ...], norm: Norm, n: int, n_classes: int, options: dict) -> None:
    """Attack n images with ours together and with the published attacks one by one, each on what is left."""
    network = small_network(n_classes)
    images, labels = examples(network, n)
    threat = radius_that_splits(network, images, labels, norm)
    settings = StandardSettings(attacks=names, **options)
    keys = torch.arange(100, 100 + n)
    result = standard_attack(
        network, images, labels, threat, keys=keys, seed=SEED, n_classes=n_classes, settings=settings
    )
    for i in range(n):
        image, label = images[i : i + 1], labels[i : i + 1]
        expected = image
        for name in names:
            expected = stock_alone(
                name, network, image, label, int(keys[i]), threat, settings, SEED, min(9, n_classes - 1)
            )
            if network(expected).argmax(1) != label:
                break
        assert (network(expected).argmax(1) != label).item() == (not result.robust[i])
        torch.testing.assert_close(result.adversarial[i : i + 1], expected, atol=1e-12, rtol=0)
    broken = int((~result.robust).sum())
    assert 0 < broken < n  # else one kind of verdict would go untested


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_equals_the_published_one(name: str, norm: Norm) -> None:
    compare((name,), norm, 4, 10, SHORT)


def test_fewer_than_ten_classes_have_as_many_targets_as_there_are() -> None:
    compare(("apgd-t", "fab-t"), Norm.LINF, 3, 4, SHORT | {"apgd_steps": 10, "fab_steps": 4})


@pytest.mark.slow
@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("names", [("apgd-ce",), ("apgd-t",), ("fab-t",), ("square",), ATTACKS])
def test_the_whole_published_schedule_is_equal(names: tuple[str, ...], norm: Norm) -> None:
    compare(names, norm, 6, 10, {})
