"""Verdicts beside those of pyautoattack as published, on networks that other people trained."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.autoattack import split
from benchmarks.autoattack_agreement import APGD, Verdicts, verdicts
from measurebench import load_model
from measurebench.core.threat import ThreatModel

SHARED = Path(__file__).parents[3].parent / "shared"
MODELS = ("resnet20", "cnn-a-mix", "oval-deep-kw", "small-8px-kw", "resnet-4b-adv")
DIGITS = ("digits:resnet-at-10-b64-s0-last", "digits:plain-trades-10-b64-s0-last")
N = 24
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def no_more_than_between_seeds(compared: Verdicts) -> None:
    """Ours differs from a seed of pyautoattack no more than two of its seeds do, plus 0.1 point, and not one way."""
    assert max(compared.across) <= max(compared.between) + max(1, 0.001 * len(compared.mine))
    assert compared.p > 0.05


@cache
def cifar10() -> tuple[Tensor, Tensor]:
    images, labels = split("cifar10", SHARED / "cifar10")
    return images[:N], labels[:N]


@cache
def compared(model: str, radius: str) -> Verdicts:
    network = load_model(f"{SHARED / 'models' / 'models.toml'}#{model}").network
    return verdicts(network, *cifar10(), ThreatModel.parse("Linf", radius), APGD)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="published checkpoints are not here")
@pytest.mark.parametrize("radius", ["2/255", "8/255"])
@pytest.mark.parametrize("model", MODELS)
def test_verdicts_on_a_published_network_differ_as_those_of_two_seeds_do(model: str, radius: str) -> None:
    no_more_than_between_seeds(compared(model, radius))


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="published checkpoints are not here")
def test_verdicts_on_all_published_networks_differ_as_those_of_two_seeds_do() -> None:
    parts = [compared(model, radius) for model in MODELS for radius in ("2/255", "8/255")]
    whole = Verdicts.joined(parts)
    no_more_than_between_seeds(whole)
    assert 0.1 < float(whole.mine.double().mean()) < 0.9  # both kinds of verdicts are there


@pytest.mark.parametrize("attacks", [("fab-t",), ("square",), APGD], ids=str)
@pytest.mark.parametrize("model", DIGITS)
def test_verdicts_on_networks_of_digits_differ_as_those_of_two_seeds_do(model: str, attacks: Sequence[str]) -> None:
    images, labels = split("digits")
    threat = ThreatModel.parse("Linf", "3/20")
    found = verdicts(load_model(model).network, images[:N], labels[:N], threat, attacks)
    no_more_than_between_seeds(found)
    assert 0 < int(found.mine.sum()) < len(found.mine)


def test_a_bias_of_a_few_verdicts_is_seen() -> None:
    theirs = torch.arange(100) < 50
    with pytest.raises(AssertionError):
        no_more_than_between_seeds(Verdicts(torch.arange(100) < 52, (theirs, theirs, theirs)))
