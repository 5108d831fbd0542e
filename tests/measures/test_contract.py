"""What every registered measure promises; none is exempt."""

import copy
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tests.measures as here
from measurebench.core.info import PROPERTIES
from measurebench.core.threat import ThreatModel
from measurebench.measures.api import evaluate, measure, shared_gradients
from measurebench.measures.context import MeasureContext, MeasureSettings
from measurebench.measures.registry import all_measures, find_measure
from measurebench.measures.value import MeasureValue
from tests.measures.cases import KINDS, THREAT, examples, network

IDS = list(all_measures())
MEASURES = pytest.mark.parametrize("name", IDS)
N = 16  # so that batches of 64 are all of them
QUICK = ("convolutional", "preactivation")
SCALE = 3.0
# What float32 may differ from float64 by: rounding (6e-8 per operation) turns the sign of a gradient that is nearly
# zero in one step of an attack, which moves one pixel of one example by a part of the radius. That is far below what
# other examples would change, so the bound is a share of the value and of its standard error.
SINGLE, OF_ERROR = 2e-3, 0.1


@pytest.fixture(scope="module", autouse=True)
def _short_autoattack() -> Iterator[None]:
    """AutoAttack with few steps: what is tested here is the measure, and the attack itself takes seconds."""
    from pyautoattack import AutoAttack

    original = AutoAttack.run_standard_evaluation

    def short(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.apgd.n_iter = self.apgd_targeted.n_iter = self.fab.n_iter = 5
        self.apgd_targeted.n_target_classes = self.fab.n_target_classes = 2
        self.square.n_queries = 20
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AutoAttack, "run_standard_evaluation", short)
        yield


class Scaled(nn.Module):
    """The network with its logits multiplied by a number."""

    def __init__(self, inner: nn.Module, factor: float = SCALE) -> None:
        super().__init__()
        self.inner, self.factor = inner, factor

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images) * self.factor


class Shifted(nn.Module):
    """The network with a function of the image added to all of its logits."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images) + images.square().flatten(1).sum(1, keepdim=True)


class Breaking(nn.Module):
    """The network, out of order after a number of passes."""

    def __init__(self, inner: nn.Module, passes: int) -> None:
        super().__init__()
        self.inner, self.left = inner, passes

    def forward(self, images: Tensor) -> Tensor:
        self.left -= 1
        if self.left < 0:
            raise ArithmeticError("out of order")
        return self.inner(images)


def settings(threat: ThreatModel = THREAT) -> MeasureSettings:
    return MeasureSettings(threat, gradients=shared_gradients([all_measures()[name] for name in IDS]))


def values_of(
    net: nn.Module,
    data: tuple[Tensor, Tensor],
    names: Iterable[str] = IDS,
    *,
    adversarial: Tensor | None = None,
    initial: nn.Module | None = None,
    batch_size: int = 256,
    threat: ThreatModel = THREAT,
) -> dict[str, MeasureValue]:
    """Return the values of measures by id, all in one context, as a run computes them."""
    images, labels = data
    shared = MeasureContext(
        net,
        images,
        labels,
        settings(threat),
        initial_network=initial or initial_of(net),
        adversarial=adversarial,
        batch_size=batch_size,
    )
    return {name: evaluate(find_measure(name), shared) for name in names}


def initial_of(net: nn.Module) -> nn.Module:
    """Return the network with other weights, to stand for those at initialisation."""
    initial = copy.deepcopy(net)
    generator = torch.Generator().manual_seed(7)
    for parameter in initial.parameters():
        parameter += 0.1 * torch.randn(parameter.shape, generator=generator).to(parameter)
    return initial


def data_for(kind: str, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    images, labels = examples(network(kind), N)
    return images.to(dtype), labels


@cache
def plain(kind: str = "convolutional", dtype: torch.dtype = torch.float64) -> dict[str, MeasureValue]:
    """Every measure on one network: what the other runs are compared with."""
    return values_of(network(kind, dtype), data_for(kind, dtype))


def same(a: MeasureValue, b: MeasureValue, tolerance: float, scale: float = 1.0) -> bool:
    if a.value is None or b.value is None:
        return a.value is None and b.value is None
    return abs(a.value * scale - b.value) <= tolerance * max(abs(a.value * scale), abs(b.value)) + 1e-12


@cache
def batched(size: int, n: int) -> dict[str, MeasureValue]:
    images, labels = data_for("convolutional")
    return values_of(network("convolutional"), (images[:n], labels[:n]), batch_size=size)


@MEASURES
@pytest.mark.parametrize(("size", "n"), [(1, 5), (7, N)])
def test_value_does_not_depend_on_the_batch_size(name: str, size: int, n: int) -> None:
    whole = plain() if n == N else batched(64, n)
    assert same(batched(size, n)[name], whole[name], 1e-9), (batched(size, n)[name].value, whole[name].value)


@cache
def reordered() -> dict[str, MeasureValue]:
    images, labels = data_for("convolutional")
    order = torch.randperm(N, generator=torch.Generator().manual_seed(3))
    return values_of(network("convolutional"), (images[order], labels[order]))


@MEASURES
def test_value_does_not_depend_on_the_order_of_examples(name: str) -> None:
    assert same(reordered()[name], plain()[name], 1e-9), (reordered()[name].value, plain()[name].value)


@cache
def again() -> dict[str, MeasureValue]:
    torch.manual_seed(12345)  # the global generator must not matter
    return values_of(network("convolutional"), data_for("convolutional"))


@MEASURES
def test_a_second_run_gives_the_same_bits(name: str) -> None:
    first, second = plain()[name], again()[name]
    assert (first.value, first.standard_error) == (second.value, second.standard_error)


@MEASURES
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in KINDS]
)
def test_single_precision_agrees_with_double(name: str, kind: str) -> None:
    double, single = plain(kind)[name], plain(kind, torch.float32)[name]
    if double.value is None or single.value is None:
        assert double.value is None
        assert single.value is None
    else:
        bound = SINGLE * abs(double.value) + OF_ERROR * (double.standard_error or 0.0)
        assert abs(single.value - double.value) <= bound, (single.value, double.value, double.standard_error)
    assert (double.value is None) == bool(double.reason)


@MEASURES
def test_estimates_over_examples_carry_a_standard_error(name: str) -> None:
    value = plain()[name]
    if value.value is None or not reads_examples(name):
        assert value.value is None or value.n == 0
    else:
        assert value.n is not None
        assert 0 < value.n <= N
        assert value.standard_error is not None
        assert value.standard_error >= 0


def reads_examples(name: str) -> bool:
    return bool({"clean", "pgd"} & set(all_measures()[name].info.inputs))


def trained_network() -> tuple[nn.Module, dict[str, Tensor], list[bool]]:
    """A network in the middle of training: gradients, one norm in training mode, another in evaluation mode."""
    net = network("residual", torch.float32)
    net.bn1.train()
    for parameter in net.parameters():
        parameter.requires_grad_(True)
        parameter.grad = torch.ones_like(parameter)
    state = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    return net, state, [module.training for module in net.modules()]


def left_as_found(net: nn.Module, state: dict[str, Tensor], modes: list[bool]) -> bool:
    weights = all(torch.equal(tensor, state[key]) for key, tensor in net.state_dict().items())
    gradients = all(p.requires_grad and torch.equal(p.grad, torch.ones_like(p)) for p in net.parameters())
    hooks = any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    return weights and gradients and not hooks and [module.training for module in net.modules()] == modes


@cache
def damage() -> set[str]:
    """Names of the measures after which the network is not as it was."""
    net, state, modes = trained_network()
    images, labels = data_for("residual", torch.float32)
    start = initial_of(network("residual", torch.float32))
    shared = ["average_ce_pgd", "x_grad_norm", "w_grad_norm_pgd", "kl_divergence_pgd"]
    measure(net, images, labels, shared, radius=1 / 16, initial_network=start)
    assert left_as_found(net, state, modes)
    broken = set()
    for name in IDS:
        measure(net, images[:6], labels[:6], [name], radius=1 / 16, initial_network=start, pgd_steps=1)
        if not left_as_found(net, state, modes):
            broken.add(name)
            net, state, modes = trained_network()
    return broken


@MEASURES
def test_the_network_is_left_as_found(name: str) -> None:
    assert name not in damage()


@MEASURES
def test_the_network_is_left_as_found_when_a_measure_raises(name: str) -> None:
    images, labels = data_for("residual", torch.float32)
    start = initial_of(network("residual", torch.float32))
    for passes in (0, 1, 3):
        net, state, modes = trained_network()
        breaking = Breaking(net, passes)
        try:
            measure(breaking, images[:4], labels[:4], [name], radius=1 / 16, initial_network=Breaking(start, 99))
        except ArithmeticError:
            assert passes or name
        assert left_as_found(net, state, modes), passes


def fixed_examples(images: Tensor) -> Tensor:
    """Stand-ins for adversarial examples, the same before and after a change of the network."""
    return (images + 0.05 * torch.sin(37 * images)).clamp(0, 1)


def lively(kind: str) -> nn.Module:
    """The network with few inactive units: where a gradient is exactly zero, rounding decides on its sign."""
    net = network(kind)
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            parameter += 0.3
    return net


@cache
def changed(change: type[nn.Module] | None, kind: str, radius: str) -> dict[str, MeasureValue]:
    net = lively(kind)
    data = examples(net, N)
    threat = ThreatModel.parse("Linf", radius)
    names = OF_EXAMPLES if kind == "convolutional" else HARD_TO_CHANGE
    net = net if change is None else change(net)
    return values_of(net, data, names, adversarial=fixed_examples(data[0]), threat=threat)


def changes(name: str, change: type[nn.Module], scale: float) -> bool:
    """Tell whether the change of the network changes the measure (times ``scale``) in any of the cases."""
    cases = [("convolutional", "1/16")] + ([("wide", "1/16"), ("wide", "1/4")] if name in HARD_TO_CHANGE else [])
    return any(
        not same(changed(None, kind, radius)[name], changed(change, kind, radius)[name], 1e-6, scale)
        for kind, radius in cases
    )


LOGIT_CASES = [
    pytest.param("logit_scale_invariant", Scaled, 1.0, id="scale-invariant"),
    pytest.param("logit_scale_equivariant", Scaled, SCALE, id="scale-equivariant"),
    pytest.param("logit_shift_invariant", Shifted, 1.0, id="shift-invariant"),
]
OF_EXAMPLES = [name for name in IDS if reads_examples(name)]
HARD_TO_CHANGE = [name for name in OF_EXAMPLES if name.startswith("sharpness_")]  # radii of a grid


@pytest.mark.parametrize("name", OF_EXAMPLES)
@pytest.mark.parametrize(("declared", "change", "scale"), LOGIT_CASES)
def test_logit_properties_hold_exactly_where_declared(
    name: str, declared: str, change: type[nn.Module], scale: float
) -> None:
    assert changes(name, change, scale) == (declared not in all_measures()[name].info.properties)


@cache
def rescaled(factor: float) -> dict[str, MeasureValue]:
    """Every measure on a ReLU network whose first layer is multiplied, and whose second is divided, by a factor."""

    def build(c: float) -> nn.Module:
        torch.manual_seed(2)
        first, second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2)
        net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(36, 10)).double()
        first.weight.data *= c
        first.bias.data *= c
        second.weight.data /= c
        return net.eval().requires_grad_(False)

    return values_of(build(factor), examples(build(1.0), N), initial=initial_of(build(1.0)))


@MEASURES
def test_rescaling_of_layers_matters_exactly_where_undeclared(name: str) -> None:
    # (c W1, c b1, W2 / c) is the same function: only what reads the weights may see it.
    info = all_measures()[name].info
    before, after = rescaled(1.0)[name], rescaled(200.0)[name]
    invariant = "weights" not in info.inputs or "rescale_invariant" in info.properties
    assert same(before, after, 1e-6) == invariant, (before.value, after.value)


@MEASURES
def test_info_is_complete(name: str) -> None:
    info = all_measures()[name].info
    assert all([info.title, info.unit, info.formula, info.source, info.cost, info.explanation, info.inputs])
    assert set(info.properties) <= set(PROPERTIES)
    assert set(info.inputs) <= {"weights", "initial_weights", "clean", "pgd", "gradient"}
    for variant in info.variants:
        assert find_measure(f"{name}:{variant}").info.id == f"{name}:{variant}"


@MEASURES
def test_variants_give_values_too(name: str) -> None:
    for variant in all_measures()[name].info.variants:
        full = f"{name}:{variant}"
        value = values_of(network("convolutional"), data_for("convolutional"), [full])[full]
        assert (value.value is None) == bool(value.reason)


@MEASURES
def test_a_test_of_its_own_exists(name: str) -> None:
    module = type(all_measures()[name]).__module__.removeprefix("measurebench.measures.").split(".")
    folder = Path(here.__file__).parent
    assert folder.joinpath(*module[:-1], f"test_{module[-1]}.py").is_file()
