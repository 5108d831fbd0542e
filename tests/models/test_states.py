"""Where weights lie in a checkpoint, and how they are fitted to a network key by key."""

import pytest
import torch
from torch import nn

from measurebench.core.errors import BadInputError
from measurebench.models.states import candidates, fit, kept_normalization, state_at
from tests.models.checkpoints import network, prefixed, state


def test_optimizer_state_is_no_candidate() -> None:
    content = {"net": state(), "optimizer": {"momentum": {"a.b": torch.ones(3)}}, "lr_scheduler": {"x": torch.ones(2)}}
    assert next(place for place, _ in candidates({**content, "scheduler": {"x": torch.ones(1)}})) == ("net",)
    assert ("optimizer", "momentum") not in [place for place, _ in candidates(content)]


def test_path_of_keys_reaches_a_stage_and_says_where_it_breaks() -> None:
    content = {"state_dict": [state(), state(seed=1)]}
    assert torch.equal(state_at(content, ("state_dict", 1), "x")["fc.bias"], state(seed=1)["fc.bias"])
    with pytest.raises(BadInputError, match=r"2 inside the file under \['state_dict'\].*a list of 2"):
        state_at(content, ("state_dict", 2), "x")
    with pytest.raises(BadInputError, match="'net' inside the file, got a dictionary with 'state_dict'"):
        state_at(content, ("net",), "x")


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "module.model._orig_mod.", "a.b.c."])
def test_prefix_of_any_wrapper_is_taken_off_when_all_keys_carry_it(prefix: str) -> None:
    fitted = fit(network(seed=5), prefixed(prefix), "x")
    assert fitted.prefix == prefix
    assert torch.equal(fitted.state["fc.weight"], state()["fc.weight"])


def test_prefix_is_found_among_similar_names() -> None:
    inner = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Sequential(torch.nn.Linear(2, 2)))
    weights = {f"module.{key}": value for key, value in inner.state_dict().items()}
    assert fit(inner, weights, "x").prefix == "module."


def test_constants_of_the_code_may_be_missing_only_when_named() -> None:
    net = network()
    net.register_buffer("mu", torch.full((3,), 0.5))
    with pytest.raises(BadInputError, match="mu"):
        fit(net, state(), "x")
    assert torch.equal(fit(net, state(), "x", constants=("mu",)).state["mu"], torch.full((3,), 0.5))


def test_unused_weights_are_set_aside_only_where_the_network_declares_them() -> None:
    weights = state() | {"sub_block1.layer.0.conv1.weight": torch.ones(1)}
    net = network()
    with pytest.raises(BadInputError, match="sub_block1"):
        fit(net, weights, "x")
    net.unused_weights = ("sub_block1.",)  # type: ignore[assignment]
    assert list(fit(net, weights, "x").extras) == ["sub_block1.layer.0.conv1.weight"]


def test_both_sides_are_listed_when_keys_differ() -> None:
    weights = {key.replace("bn1", "norm"): value for key, value in state().items()}
    with pytest.raises(BadInputError, match=r"4 the file lacks \(bn1\.weight.*5 the network lacks \(norm\.weight"):
        fit(network(), weights, "x")


def test_normalisation_is_read_from_buffers_of_any_shape() -> None:
    extras = {"normalize.mean": torch.full((1, 3, 1, 1), 0.5), "normalize.std": torch.full((3,), 0.25)}
    kept = kept_normalization(extras)
    assert kept is not None
    assert (kept.mean, kept.std) == ((0.5,) * 3, (0.25,) * 3)
    assert kept_normalization({"n_classes": torch.tensor(10)}) is None


def test_wrapper_that_holds_the_network_twice_is_read_once() -> None:
    # As the robustness library writes: module.model.*, the same again under the attacker, its own normalisation.
    weights = prefixed("module.model.") | prefixed("module.attacker.model.")
    weights |= {
        f"module.{place}.new_{name}": torch.full((3, 1, 1), 0.5)
        for place in ("normalizer", "attacker.normalize")
        for name in ("mean", "std")
    }
    fitted = fit(network(seed=5), weights, "x")
    assert fitted.prefix == "module.model."
    assert torch.equal(fitted.state["fc.weight"], state()["fc.weight"])
    kept = kept_normalization(fitted.extras)
    assert kept is not None
    assert kept.mean == (0.5,) * 3
    with pytest.raises(BadInputError, match="attacker"):
        fit(network(), weights | {"module.attacker.model.fc.bias": torch.ones(10)}, "x")


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128, torch.int8, torch.uint8, torch.int64, torch.bool])
def test_weights_that_copying_would_change_are_refused(dtype: torch.dtype) -> None:
    state = {"weight": torch.ones(3, 2).to(dtype), "bias": torch.ones(3)}
    with pytest.raises(
        BadInputError, match=rf"weight: expected (real weights|weights in floating point), got {str(dtype)[6:]}"
    ):
        fit(nn.Linear(2, 3), state, "net.pt")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_taken(dtype: torch.dtype) -> None:
    state = {"weight": torch.ones(3, 2).to(dtype), "bias": torch.ones(3)}
    assert fit(nn.Linear(2, 3), state, "net.pt").state["weight"].dtype == dtype
