"""The checks find measures that break each promise; that ours keep them is shown in tests/measures/test_contract.py."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch

from measurebench.core.errors import BadInputError
from measurebench.core.info import MeasureInfo
from measurebench.measures.context import MeasureContext
from measurebench.measures.value import MeasureValue
from measurebench.testing import MEASURE_PROMISES, ContractError, check_measure

INFO = MeasureInfo(
    id="mine",
    title="Mine",
    family="margins",
    unit="logits",
    formula="mean_x max_k z_k(x)",
    source="a test",
    hypothesis="",
    inputs=("clean",),
    cost="shared",
    explanation="Mean of the largest logit.",
    properties=("logit_scale_equivariant",),
)


@dataclass(frozen=True)
class Good:
    info: ClassVar[MeasureInfo] = INFO

    def __call__(self, context: MeasureContext) -> MeasureValue:
        return MeasureValue.mean(self.per_example(context))

    def per_example(self, context: MeasureContext) -> torch.Tensor:
        return context.clean_logits.amax(1)


class OfTheBatchSize(Good):
    def per_example(self, context: MeasureContext) -> torch.Tensor:
        return super().per_example(context) / context.batches.size


class OfTheFirst(Good):
    def per_example(self, context: MeasureContext) -> torch.Tensor:
        return super().per_example(context)[:3]


class OfTheGlobalGenerator(Good):
    def per_example(self, context: MeasureContext) -> torch.Tensor:
        return super().per_example(context) * (1 + 1e-3 * torch.rand(1, dtype=context.images.dtype))


class OfThePrecision(Good):
    def per_example(self, context: MeasureContext) -> torch.Tensor:
        return super().per_example(context) * (1.01 if context.images.dtype == torch.float32 else 1)


class WithoutError(Good):
    def __call__(self, context: MeasureContext) -> MeasureValue:
        return MeasureValue(float(self.per_example(context).mean()), n=context.n)


class WithoutCount(Good):
    def __call__(self, context: MeasureContext) -> MeasureValue:
        return replace(super().__call__(context), n=None)


class Trains(Good):
    def per_example(self, context: MeasureContext) -> torch.Tensor:
        next(context.network.parameters()).data *= 1.01
        return super().per_example(context)


class Hooks(Good):
    def per_example(self, context: MeasureContext) -> torch.Tensor:
        hook = context.network.register_forward_hook(lambda *_: None)
        logits = context.forward(context.images)
        hook.remove()  # never reached where the network raises
        return logits.amax(1)


class InPlace(Good):
    def per_example(self, context: MeasureContext) -> torch.Tensor:
        return context.clean_logits.clamp_(min=0).amax(1) if len(context.images) else context.clean_logits


class OfTheWeights(Good):
    info: ClassVar[MeasureInfo] = replace(INFO, inputs=("weights",), properties=("rescale_invariant",))

    def __call__(self, context: MeasureContext) -> MeasureValue:
        return MeasureValue(sum(float(p.abs().sum()) for p in context.parameters.values()), n=0)


@dataclass(frozen=True)
class BrokenVariant(Good):
    variant: str = "definition"

    @property
    def info(self) -> MeasureInfo:  # type: ignore[override]
        return replace(INFO, variants={"other": "Another one."})


class Declares(Good):
    info: ClassVar[MeasureInfo] = replace(INFO, properties=("logit_shift_invariant", "logit_scale_equivariant"))


class KeepsQuiet(Good):
    info: ClassVar[MeasureInfo] = replace(INFO, properties=())


class Unexplained(Good):
    info: ClassVar[MeasureInfo] = replace(INFO, explanation="", unit="")


def test_a_measure_that_keeps_all_promises_passes() -> None:
    check_measure(Good())


@pytest.mark.parametrize(
    ("measure", "promise", "message"),
    [
        (OfTheBatchSize(), "batch_size", "breaks the promise that its value does not depend on the batch size"),
        (OfTheFirst(), "order_of_examples", "does not depend on the order of examples"),
        (OfTheGlobalGenerator(), "reproducible", "the same seed gives the same value to the last bit"),
        (OfThePrecision(), "precision_convolutional", r"float32 agrees with float64 \(convolutional network\)"),
        (WithoutError(), "standard_error", "has a standard error: None; MeasureValue.mean computes one"),
        (WithoutCount(), "standard_error", "n counts the examples that are read: n = None"),
        (Trains(), "network_as_found", "leaves the network's weights"),
        (Hooks(), "network_as_found_after_error", "not after an error in pass 4"),
        (InPlace(), "shared_work_as_found", "it changed clean logits in place"),
        (OfTheWeights(), "rescaling", "rescale_invariant .* holds, as it declares"),
        (BrokenVariant(), "variants", "the id of a variant is ID:VARIANT: 'mine'"),
        (Declares(), "logit_shift_invariant", "holds, as it declares or as follows from its inputs"),
        (KeepsQuiet(), "logit_scale_equivariant", "declares the properties that it has: .* is not declared"),
        (Unexplained(), "info", "its info is complete: unit, explanation missing"),
    ],
)
def test_a_broken_promise_is_found_and_named(measure: Any, promise: str, message: str) -> None:
    with pytest.raises(ContractError, match=message) as broken:
        check_measure(measure, promises=[promise])
    assert str(broken.value).startswith("measure 'mine' breaks the promise that ")


def test_an_unknown_family_property_or_input_is_named() -> None:
    for change, message in (
        ({"family": "smells"}, "family 'smells' is not one of weights"),
        ({"inputs": ("pixels",)}, r"unknown properties or inputs \['pixels'\]"),
    ):
        changed = type("Changed", (Good,), {"info": replace(INFO, **change)})
        with pytest.raises(ContractError, match=message):
            check_measure(changed(), promises=["info"])


def test_an_unknown_promise_has_a_near_name() -> None:
    with pytest.raises(BadInputError, match="did you mean 'batch_size'"):
        check_measure(Good(), promises=["batchsize"])


def test_checks_leave_torch_s_global_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    check_measure(Good(), promises=[name for name in MEASURE_PROMISES if name != "precision_wide"])
    assert torch.equal(torch.rand(3), expected)


class WithOtherSign(Good):
    info: ClassVar[MeasureInfo] = replace(INFO, hypothesis="negative")


def test_a_hypothesis_in_other_words_is_found() -> None:
    with pytest.raises(ContractError, match="hypothesis 'negative' is not one of"):
        check_measure(WithOtherSign(), promises=["info"])
