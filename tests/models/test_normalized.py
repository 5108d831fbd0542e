"""Normalisation inside the network: what is applied, and which of two statements counts."""

import pytest
import torch
from torch import nn

from measurebench.core.errors import BadInputError
from measurebench.core.specs import ModelSpec, Normalization
from measurebench.models.normalized import chosen_normalization, normalized

HALF = Normalization((0.5,), (0.25,))


def spec(normalization: Normalization, reference: str = "m.pt") -> ModelSpec:
    return ModelSpec("m", "local", "m.pt", reference=reference, normalization=normalization)


def test_images_are_shifted_and_scaled_by_channel() -> None:
    network = normalized(nn.Identity(), Normalization((0.1, 0.2), (0.5, 2.0)))
    images = torch.full((1, 2, 1, 1), 0.6)
    assert torch.allclose(network(images).flatten(), torch.tensor([1.0, 0.2]))


def test_none_leaves_the_network_itself() -> None:
    network = nn.Identity()
    assert normalized(network, Normalization()) is network


def test_statistics_are_no_parameters() -> None:
    assert list(normalized(nn.Identity(), HALF).parameters()) == []


def test_images_of_other_channels_are_named() -> None:
    with pytest.raises(BadInputError, match="3 channels.*got 1"):
        normalized(nn.Identity(), Normalization.named("cifar10"))(torch.zeros(1, 1, 4, 4))


def test_stated_normalisation_counts_unless_the_file_says_another() -> None:
    assert chosen_normalization(spec(HALF), None) == HALF
    assert chosen_normalization(spec(HALF), Normalization((0.5004,), (0.25,))) == HALF
    with pytest.raises(BadInputError, match=r"own buffers, mean \[0\.4\].*got mean \[0\.5\]"):
        chosen_normalization(spec(HALF), Normalization((0.4,), (0.25,)))
    with pytest.raises(BadInputError, match="got none"):
        chosen_normalization(spec(Normalization()), HALF)
    assert chosen_normalization(spec(Normalization()), Normalization((0.0,) * 3, (1.0,) * 3)) == Normalization()


def test_one_value_for_all_channels_is_that_value_in_each() -> None:
    each, mixed = Normalization((0.5,) * 3, (0.25,) * 3), Normalization((0.5,) * 3, (0.25,))
    for stated, kept in ((each, HALF), (HALF, each), (each, mixed), (mixed, HALF)):
        assert chosen_normalization(spec(stated), kept) == stated
    assert chosen_normalization(spec(Normalization()), Normalization((0.0,), (1.0,))) == Normalization()
    for kept in (
        Normalization((0.5,), (0.2,)),
        Normalization((0.5, 0.5, 0.4), (0.25,)),
        Normalization((0.5,) * 2, (0.25,)),
    ):
        with pytest.raises(BadInputError, match="own buffers"):
            chosen_normalization(spec(each), kept)


def test_unstated_normalisation_is_the_file_s_then_none_in_a_manifest_then_asked_for() -> None:
    unstated = Normalization(stated=False)
    assert chosen_normalization(spec(unstated), HALF) == HALF
    assert chosen_normalization(spec(unstated, "models.toml#m"), None) == Normalization()
    with pytest.raises(BadInputError, match="--normalization"):
        chosen_normalization(spec(unstated), None)
