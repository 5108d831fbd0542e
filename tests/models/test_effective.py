"""Every network here has a twin with ordinary weights, so that the right values are those of the twin."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from measurebench import measure
from measurebench.models.effective import has_computed_weights, plain, unwrapped

IMAGES = torch.rand(12, 1, 6, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 4
IDS = ["num_params", "log_prod_of_spec", "fro_over_spec", "path_norm", "euclid_init_norm", "param_norm"]
IDS += ["average_flat_pgd", "w_grad_norm_pgd", "hess_lmax", "average_ce_pgd", "x_grad_norm"]


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))


class _Half(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def _old_weight_norm(layer: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(layer)
    with torch.no_grad():
        layer.weight_g.mul_(1.5)  # type: ignore[union-attr, operator]  # the weight of the last pass is stale now


def _weight_norm(layer: nn.Module) -> None:
    parametrizations.weight_norm(layer)
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(1.5)  # type: ignore[union-attr]


def _own_hook(layer: nn.Module) -> None:
    layer.raw = nn.Parameter(layer._parameters.pop("weight").detach())  # type: ignore[union-attr]
    layer.register_forward_pre_hook(lambda module, _: setattr(module, "weight", module.raw.tanh()))  # type: ignore[operator]


def _own_hook_without_gradients(layer: nn.Module) -> None:
    layer.raw = nn.Parameter(layer.weight.detach() * 2)  # type: ignore[operator]

    def write(module: Any, _: Any) -> None:
        module.weight.data.copy_(module.raw.tanh())

    layer.register_forward_pre_hook(write)


def _normalizing_in_place(layer: nn.Module) -> None:
    def write(module: Any, _: Any) -> None:
        module.weight.data = module.weight.data / module.weight.data.norm()

    layer.register_forward_pre_hook(write)


def _with_arguments(layer: nn.Module) -> None:
    layer.raw = nn.Parameter(layer._parameters.pop("weight").detach())  # type: ignore[union-attr]

    def write(module: Any, _: Any, __: Any) -> None:
        module.weight = module.raw.clamp(-0.1, 0.1)

    layer.register_forward_pre_hook(write, with_kwargs=True)


KINDS: dict[str, Callable[[nn.Module], object]] = {
    "old weight norm": _old_weight_norm,
    "weight norm": _weight_norm,
    "old spectral norm": nn.utils.spectral_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "pruning": lambda layer: prune.l1_unstructured(layer, "weight", 0.3),
    "own parametrisation": lambda layer: parametrize.register_parametrization(layer, "weight", _Half()),
    "own hook": _own_hook,
    "hook that writes into the weight": _own_hook_without_gradients,
    "hook that normalises in place": _normalizing_in_place,
    "hook with keyword arguments": _with_arguments,
}


def _pair(kind: str, initial: bool = False) -> tuple[nn.Module, nn.Module]:
    """Return a network with computed weights, and an ordinary one that is the same function."""
    network = _network()
    if initial:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(0.5)
    twin = copy.deepcopy(network).eval()
    KINDS[kind](network[0])
    KINDS[kind](network[3])
    network.eval()
    with torch.no_grad():
        network(IMAGES)
        for index in (0, 3):
            weight = network[index].weight.detach().clone()  # type: ignore[operator]
            if "weight" not in network[index]._parameters:  # the noise of flatness follows the order of the parameters
                del twin[index].weight
            twin[index].weight = nn.Parameter(weight)
    assert torch.equal(twin(IMAGES), network(IMAGES))
    return network, twin


def _values(network: nn.Module, initial: nn.Module, images: Tensor = IMAGES, n_ids: int = 7) -> dict[str, float]:
    found = measure(network, images, LABELS, IDS[:n_ids], initial_network=initial)
    assert not [value.reason for value in found.values() if value.value is None]
    return {name: value.value for name, value in found.items() if value.value is not None}


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_the_network_with_the_computation_removed(kind: str) -> None:
    (network, twin), (initial, initial_twin) = _pair(kind), _pair(kind, initial=True)
    assert _values(network, initial, n_ids=99) == pytest.approx(
        _values(twin, initial_twin, n_ids=99), rel=1e-6, abs=1e-9
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_is_left_as_found(kind: str) -> None:
    network, _ = _pair(kind)
    state = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.train().modules()]
    weights = [network[i].__dict__.get("weight") for i in (0, 3)]  # type: ignore[index, union-attr]
    hooks = [len(module._forward_pre_hooks) for module in network.modules()]
    _values(network, network)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert [len(module._forward_pre_hooks) for module in network.modules()] == hooks
    assert all(a is b for a, b in zip(weights, (network[i].__dict__.get("weight") for i in (0, 3)), strict=True))  # type: ignore[index, union-attr]
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert torch.isfinite(network(IMAGES)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_with_computed_weights_is_measured_in_float64(kind: str) -> None:
    network, twin = _pair(kind)
    network(IMAGES)  # leaves computed weights that deepcopy refuses
    assert _values(network, network, IMAGES.double()) == pytest.approx(
        _values(twin, twin, IMAGES.double()), rel=1e-9, abs=1e-12
    )


@pytest.mark.parametrize("kind", ["old weight norm", "old spectral norm", "own hook"])
def test_new_weights_count_before_any_pass(kind: str) -> None:
    network, twin = _pair(kind)
    other, _ = _pair(kind)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(3)
    other.load_state_dict(network.state_dict())
    assert _values(other, other) == pytest.approx(_values(twin, twin), rel=1e-6, abs=1e-9)


def test_a_weight_that_depends_on_the_image_has_no_value_and_the_reason_names_it() -> None:
    network = _network().eval()
    raw = network[3]._parameters.pop("weight")
    assert raw is not None
    network[3].raw = raw
    network[3].register_forward_pre_hook(lambda m, inputs: setattr(m, "weight", m.raw * inputs[0].mean()))  # type: ignore[operator]
    values = measure(network, IMAGES, LABELS, IDS)
    reason = "the weight '3.weight' is computed at each pass and has no fixed value"
    assert {name: value.reason for name, value in values.items() if value.status == "undefined"} == {
        name: reason for name in IDS if name not in ("average_ce_pgd", "x_grad_norm")
    }


def test_a_weight_that_the_pass_itself_sets_has_no_value() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(36, 4)
            self.raw = nn.Parameter(self.layer._parameters.pop("weight").detach())  # type: ignore[union-attr]

        def forward(self, images: Tensor) -> Tensor:
            self.layer.weight = self.raw.sin()
            out: Tensor = self.layer(images.flatten(1))
            return out

    value = measure(Outer(), IMAGES, LABELS, ["log_prod_of_spec"])["log_prod_of_spec"]
    assert "'layer.weight' is computed at each pass" in value.reason


def test_a_weight_drawn_anew_at_every_pass_has_no_value() -> None:
    class Noise(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight + torch.randn_like(weight)

    network = _network()
    parametrize.register_parametrization(network[0], "weight", Noise())
    assert "'0.weight'" in plain(network, IMAGES[:1]).reason


def test_hooks_that_only_look_change_nothing() -> None:
    network, seen = _network(), []
    network[3].register_forward_pre_hook(lambda module, inputs: setattr(module, "last", inputs[0]))  # type: ignore[operator]
    network[0].register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    assert has_computed_weights(network)
    assert plain(network, IMAGES[:1]).network is network
    assert _values(network, network) == _values(_network(), _network())


def test_an_ordinary_network_comes_back_itself() -> None:
    network = _network()
    assert plain(network, IMAGES[:1]).network is network


def test_tied_computed_weights_count_once() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    for layer in (first, second):
        parametrize.register_parametrization(layer, "weight", _Half())
    found = plain(nn.Sequential(first, second), torch.rand(1, 4)).network
    assert sum(parameter.numel() for parameter in found.parameters()) == 16


def test_wrapped_networks_are_unwrapped() -> None:
    network = _network()
    assert unwrapped(nn.DataParallel(nn.DataParallel(network))) is network
    assert unwrapped(network) is network


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda network: nn.DataParallel(nn.DataParallel(network))])
def test_a_wrapped_network_has_the_values_of_the_one_inside(wrap: Callable[[nn.Module], nn.Module]) -> None:
    network = _network()
    assert _values(wrap(network), wrap(network)) == _values(network, network)
