"""The contract of a measure: what every registered measure promises, ours and those of third-party packages."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from measurebench.core.errors import BadInputError
from measurebench.core.info import FAMILIES, PROPERTIES
from measurebench.measures.api import measure as measure_network
from measurebench.measures.registry import Measure, find_measure, with_settings
from measurebench.testing.promises import demand, run_promises
from measurebench.testing.small_networks import KINDS, Breaking, Scaled, Shifted, initial_of, network
from measurebench.testing.workbench import (
    N,
    Workbench,
    has_hooks,
    left_as_found,
    reads_examples,
    same,
    trained_network,
)

__all__ = ["INPUTS", "LOGIT_CHANGES", "MEASURE_PROMISES", "Case", "check_measure", "logit_property", "precision"]

# What float32 may differ from float64 by: rounding (6e-8 per operation) turns the sign of a gradient that is nearly
# zero in one step of an attack, which moves one pixel of one example by a part of the radius. That is far below what
# other examples would change, so the bound is a share of the value and of its standard error.
SINGLE, OF_ERROR = 2e-3, 0.1
EXACT = 1e-9  # sums in another order differ by rounding, which is 1e-16 per operation
PROPERTY = 1e-6  # a property holds for the function in exact arithmetic; its computation may lose some digits
SCALE = 3.0
SIGNS = ("+", "-", "")
INPUTS = frozenset({"weights", "initial_weights", "clean", "pgd", "gradient"})

# Declared property, the change of the network, and what it multiplies the value by.
LOGIT_CHANGES: Mapping[str, tuple[type[nn.Module], float]] = {
    "logit_scale_invariant": (Scaled, 1.0),
    "logit_scale_equivariant": (Scaled, SCALE),
    "logit_shift_invariant": (Shifted, 1.0),
}


@dataclass(frozen=True)
class Case:
    """A measure and the workbench with its values."""

    measure: Measure
    bench: Workbench

    @property
    def name(self) -> str:
        """The id of the measure."""
        return self.measure.info.id

    def demand(self, kept: bool, promise: str, detail: str = "") -> None:
        """Raise ContractError, which names the measure, unless a promise is kept."""
        demand(kept, f"measure {self.name!r}", promise, detail)


def check_measure(measure: str | Measure, *, promises: Iterable[str] | None = None) -> None:
    """Check that a measure keeps the contract, on small networks that are made here; takes a second or two.

    ``measure`` is an id or the measure itself; ``promises`` are names in MEASURE_PROMISES, by default all. Raises
    ContractError, an AssertionError, at the first promise that is broken.
    """
    item = find_measure(measure) if isinstance(measure, str) else measure
    case = Case(item, Workbench([item], stubborn=[item.info.id]))
    run_promises(MEASURE_PROMISES, promises, case, "a measure")


def info_is_complete(case: Case) -> None:
    """Check that a measure says what a page needs, in the known words."""
    info, promise = case.measure.info, "its info is complete"
    texts = ("id", "title", "unit", "formula", "source", "cost", "explanation", "inputs")
    empty = [name for name in texts if not getattr(info, name)]
    case.demand(not empty, promise, f"{', '.join(empty)} missing")
    case.demand(info.hypothesis in SIGNS, promise, f"hypothesis {info.hypothesis!r} is not one of '+', '-', ''")
    case.demand(info.family in FAMILIES, promise, f"family {info.family!r} is not one of {', '.join(FAMILIES)}")
    unknown = sorted(set(info.properties) - set(PROPERTIES)) + sorted(set(info.inputs) - INPUTS)
    case.demand(not unknown, promise, f"unknown properties or inputs {unknown}")


def batch_size(case: Case) -> None:
    """Check that the value does not depend on the batch size: 1 and 7, against all at once."""
    for size, n in ((1, 5), (7, N)):
        whole = case.bench.plain() if n == N else case.bench.batched(64, n)
        parts = case.bench.batched(size, n)[case.name]
        detail = f"{whole[case.name].value} in one batch of {n}, {parts.value} in batches of {size}"
        case.demand(same(parts, whole[case.name], EXACT), "its value does not depend on the batch size", detail)


def order_of_examples(case: Case) -> None:
    """Check that the value does not depend on the order of the examples."""
    a, b = case.bench.plain()[case.name], case.bench.reordered()[case.name]
    detail = f"{a.value} and {b.value}; draw random numbers by example, from context.keys"
    case.demand(same(a, b, EXACT), "its value does not depend on the order of examples", detail)


def reproducible(case: Case) -> None:
    """Check that a second computation gives the same bits, whatever torch's global generator did meanwhile."""
    a, b = case.bench.plain()[case.name], case.bench.again()[case.name]
    detail = f"{a.value} and {b.value}; draw random numbers from a generator seeded by context.settings.seed"
    equal = (a.value, a.standard_error) == (b.value, b.standard_error)
    case.demand(equal, "the same seed gives the same value to the last bit", detail)


def precision(case: Case, kind: str) -> None:
    """Check that float32 agrees with float64 on the network of a kind, and that no value has a reason."""
    double, single = case.bench.plain(kind)[case.name], case.bench.plain(kind, torch.float32)[case.name]
    promise = f"float32 agrees with float64 ({kind} network)"
    detail = f"{single.value} against {double.value}"
    if double.value is None or single.value is None:
        case.demand(double.value is None and single.value is None, promise, detail)
    else:
        bound = SINGLE * abs(double.value) + OF_ERROR * (double.standard_error or 0.0)
        case.demand(abs(single.value - double.value) <= bound, promise, f"{detail}, more than {bound:.3g} apart")
    promise = "a value is undefined if and only if it has a reason"
    case.demand((double.value is None) == bool(double.reason), promise, f"{double.value}, reason {double.reason!r}")


def standard_error(case: Case) -> None:
    """Check that a measure which reads examples says how many, and how uncertain its value is."""
    value = case.bench.plain()[case.name]
    if value.value is None or not reads_examples(case.measure):
        case.demand(value.value is None or value.n == 0, "n is 0 where no example is read", f"n = {value.n}")
        return
    case.demand(value.n is not None and 0 < value.n <= N, "n counts the examples that are read", f"n = {value.n}")
    error = value.standard_error
    detail = f"{error}; MeasureValue.mean computes one"
    case.demand(error is not None and error >= 0, "a value over examples has a standard error", detail)


def network_as_found(case: Case) -> None:
    """Check that weights, buffers, modes, gradients and hooks of the network are as before."""
    case.demand(case.name not in case.bench.damage(), _AS_FOUND, "they differ after measuring")


def network_as_found_after_error(case: Case) -> None:
    """Check the same where the network raises an error in the middle of the computation."""
    images, labels = case.bench.data("residual", torch.float32)
    start = initial_of(network("residual", torch.float32))
    for passes in (0, 2, 3, 5):  # the first two passes are those of ``measure`` itself, which looks at the answers
        net, state, modes = trained_network()
        examples = (images[:4], labels[:4], [case.measure])
        breaking = Breaking(net, passes)
        with suppress(ArithmeticError, BadInputError):  # the network's own error, or that of ``measure`` about it
            measure_network(breaking, *examples, radius=1 / 16, initial_network=Breaking(start, 99))
        kept = left_as_found(net, state, modes) and not has_hooks(breaking)
        case.demand(kept, _AS_FOUND, f"not after an error in pass {passes + 1}")


def shared_work_as_found(case: Case) -> None:
    """Check that images, labels and what measures share are as before: the next measure reads them too."""
    before, after = case.bench.shared_before_and_after(case.measure)
    spoilt = [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]
    case.demand(not spoilt, "it leaves what measures share as it found it", f"it changed {', '.join(spoilt)} in place")


def logit_property(case: Case, declared: str) -> None:
    """Check that a property in LOGIT_CHANGES holds if it is declared, and is seen to fail if it is not."""
    if not reads_examples(case.measure):
        return
    change, scale = LOGIT_CHANGES[declared]
    settings = [("convolutional", "1/16")]
    if case.name in case.bench.stubborn:
        settings += [("wide", "1/16"), ("wide", "1/4")]
    changes = any(
        not same(
            case.bench.changed(None, kind, radius)[case.name],
            case.bench.changed(change, kind, radius)[case.name],
            PROPERTY,
            scale,
        )
        for kind, radius in settings
    )
    _demand_property(case, declared, not changes, declared in case.measure.info.properties)


def rescaling(case: Case) -> None:
    """Check rescale_invariant: (c W1, c b1, W2 / c) is the same function, and only what reads weights may see it."""
    info = case.measure.info
    holds = same(case.bench.rescaled(1.0)[case.name], case.bench.rescaled(200.0)[case.name], PROPERTY)
    invariant = "weights" not in info.inputs or "rescale_invariant" in info.properties
    _demand_property(case, "rescale_invariant", holds, invariant)


def variants(case: Case) -> None:
    """Check that every declared variant has an id of its own, and a value or a reason."""
    for variant in case.measure.info.variants:
        item, name = with_settings(case.measure, {"variant": variant}), f"{case.name}:{variant}"
        case.demand(item.info.id == name, "the id of a variant is ID:VARIANT", f"{item.info.id!r}")
        data = case.bench.data("convolutional")
        value = case.bench.values_of(network("convolutional"), data, [item])[name]
        kept = (value.value is None) == bool(value.reason)
        case.demand(kept, "a variant has a value or a reason", f"{name}: {value.value}, reason {value.reason!r}")


def _demand_property(case: Case, name: str, holds: bool, declared: bool) -> None:
    text = f"{name} ({PROPERTIES[name]})"
    if declared:
        case.demand(holds, f"{text} holds, as it declares or as follows from its inputs", "the value changed")
    else:
        case.demand(not holds, "it declares the properties that it has", f"{text} holds and is not declared")


_AS_FOUND = "it leaves the network's weights, buffers, modes, gradients and hooks as it found them"

MEASURE_PROMISES: Mapping[str, Callable[[Case], None]] = {
    "info": info_is_complete,
    "batch_size": batch_size,
    "order_of_examples": order_of_examples,
    "reproducible": reproducible,
    **{f"precision_{kind}": partial(precision, kind=kind) for kind in KINDS},
    "standard_error": standard_error,
    "network_as_found": network_as_found,
    "network_as_found_after_error": network_as_found_after_error,
    "shared_work_as_found": shared_work_as_found,
    **{name: partial(logit_property, declared=name) for name in LOGIT_CHANGES},
    "rescaling": rescaling,
    "variants": variants,
}
