"""The built-in architecture that a state dict fits best is named, and where it differs."""

import pytest
import torch

from measurebench.models.architectures import built_in
from measurebench.models.fits import best_fit


@pytest.mark.parametrize("name", ["resnet-18", "preactresnet-18-bn", "wrn-16-4", "vgg-11", "cnn-oval"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_exact_fit_is_named_whatever_the_prefix(name: str, prefix: str) -> None:
    with torch.device("meta"):
        state = built_in()[name].build().state_dict()
    assert best_fit({prefix + key: value for key, value in state.items()}) == f"the built-in architecture {name!r} fits"


def test_normalisation_buffers_and_missing_counters_do_not_hide_a_fit() -> None:
    with torch.device("meta"):
        state = built_in()["resnet-18"].build().state_dict()
    state = {f"1.{key}": value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    state |= {"0.mean": torch.zeros(3), "0.std": torch.ones(3)}
    assert "'resnet-18' fits" in best_fit(state)


def test_near_fit_says_how_many_keys_differ_and_which_first() -> None:
    with torch.device("meta"):
        state = built_in()["resnet-18"].build(n_classes=100).state_dict()
    hint = best_fit(state)
    assert "nearest built-in architecture is 'resnet-18'; it differs in 2 of 102 keys" in hint
    assert "linear.bias: file [100], network [10]" in hint


def test_nothing_near_gives_no_hint() -> None:
    assert best_fit({"encoder.weight": torch.zeros(3, 3)}) == ""
