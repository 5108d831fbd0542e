"""Measures one network in memory."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import get_args

from torch import Tensor, nn

from measurebench.compute.numerics import full_precision
from measurebench.core.config import PGD_STEPS
from measurebench.core.errors import BadInputError
from measurebench.core.info import Examples, Split
from measurebench.core.threat import ThreatModel
from measurebench.measures.context import MeasureContext, MeasureSettings
from measurebench.measures.entrance import as_tensors, bare_network, check_labels, checked_pixels, logits_network
from measurebench.measures.registry import Measure, select_measures
from measurebench.measures.robustness.accuracy import AttackAccuracy, TrainRobustAccuracy
from measurebench.measures.value import MeasureValue, UndefinedMeasureError
from measurebench.models.effective import copied, plain

__all__ = ["as_found", "evaluate", "in_dtype", "measure", "shared_gradients"]

_EXAMPLES: dict[Examples, str] = {"clean": "clean images", "pgd": "PGD examples"}


def measure(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    measures: str | Iterable[str | Measure] = "core",
    *,
    adversarial: Tensor | None = None,
    norm: str = "Linf",
    radius: str | float = 8 / 255,
    seed: int = 0,
    split: Split = "train",
    initial_network: nn.Module | None = None,
    batch_size: int = 256,
    pgd_steps: int = PGD_STEPS,
) -> dict[str, MeasureValue]:
    """Return the value of each measure for one network and its examples, by measure id.

    ``images`` float [n, ...] in [0, 1], of any shape that the network takes; ``labels`` whole numbers [n] or [n, 1];
    both may be arrays of numpy. ``adversarial`` [n, ...] stands in for PGD's examples; ``radius`` is in pixel units.
    ``measures`` is ``core``, ``all``, or ids (``local_lip:reference`` for a named variant). Computes in the dtype of
    ``images`` (in a copy of the network where its own differs), on a GPU without TF32. Weights, buffers, mode and
    gradients of the network are as found afterwards. A network inside ``DataParallel`` is unwrapped, and of an output
    with ``logits`` these are taken. What rounding left outside [0, 1] is clamped.

    Slow attacks are left out of ``core`` here: ask for ``autoattack_accuracy``. Raises BadInputError for inputs it
    cannot use: images outside [0, 1], labels beyond the network's classes, a network that does not answer with logits
    or answers differently each time.

    >>> import torch
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> images, labels = torch.rand(8, 1, 2, 2), torch.zeros(8, dtype=torch.int64)
    >>> measure(network, images, labels, "num_params")["num_params"].value
    15.0
    """
    chosen = [m for m in select_measures(measures) if measures != "core" or not _is_slow(m)]
    network = bare_network(network)
    images, labels = as_tensors(images, labels)
    check_labels(images, labels)
    images = checked_pixels("images", images)
    if adversarial is not None:
        adversarial = checked_pixels("adversarial", adversarial)
    settings = MeasureSettings(
        ThreatModel.parse(norm, radius),
        seed,
        split,
        pgd_steps,
        gradients=shared_gradients(chosen),
        weight_gradients=shared_gradients(chosen, "weights"),
    )
    with as_found(network), full_precision():
        context = MeasureContext(
            _checked(network, images, labels, chosen),
            images,
            labels,
            settings,
            initial_network=None
            if initial_network is None
            else _checked(initial_network, images, labels, chosen, True),
            adversarial=adversarial,
            batch_size=batch_size,
        )
        return {item.info.id: evaluate(item, context) for item in chosen}


def _checked(
    network: nn.Module, images: Tensor, labels: Tensor, measures: Iterable[Measure], initial: bool = False
) -> nn.Module:
    """Return the network in the images' dtype, checked by as few passes as the measures need.

    Two passes tell whether it answers the same each time, which matters to measures that read answers. One tells
    whether it answers with logits, which matters to any measure that passes an image, be it to find the layers.
    """
    ready = in_dtype(bare_network(network), images)
    passing = [item for item in measures if not getattr(item, "passes_no_image", False)]
    if initial:
        passing = [item for item in passing if "initial_weights" in item.info.inputs]
        images, labels = images[:1], labels[:1]
    if not passing:
        return ready
    reading = any(set(item.info.inputs) - {"weights", "initial_weights"} for item in passing)
    return logits_network(ready, images if reading else images[:1], labels, again=reading and not initial)


def _is_slow(item: Measure) -> bool:
    """Tell whether a measure is the accuracy under an attack that usually takes fewer examples than the others."""
    return isinstance(item, AttackAccuracy) and bool(item.attack.info.counted_by)


def evaluate(item: Measure, context: MeasureContext) -> MeasureValue:
    """Return the measure's value; where it is not defined, the reason.

    Raises BadInputError for a measure that returns something else.
    """
    if reason := _missing(item, context):
        return MeasureValue.undefined(reason)
    try:
        value: object = item(context)
        if not isinstance(value, MeasureValue):
            hint = "return MeasureValue(value), or MeasureValue.mean(values) for one value per image"
            raise BadInputError(f"measure {item.info.id!r}", "a MeasureValue", repr(value), hint)
        return _explained(value.checked(), item, context)
    except UndefinedMeasureError as undefined:
        return MeasureValue.undefined(str(undefined))


def _missing(item: Measure, context: MeasureContext) -> str:
    """Return why a measure cannot be taken, whatever it computes: no weights, or outputs that are NaN; else nothing.

    Accuracies count such outputs as wrong.
    """
    inputs = item.info.inputs
    if context.no_weights and "weights" in inputs:
        return context.no_weights
    if item.info.tier == "accuracy" or isinstance(item, TrainRobustAccuracy):
        return ""
    for kind in (kind for kind in get_args(Examples) if kind in inputs):
        if n_nan := context.n_nan(kind):
            return f"the network's output is NaN for {n_nan} of {context.n} {_EXAMPLES[kind]}"
    return ""


def _explained(value: MeasureValue, item: Measure, context: MeasureContext) -> MeasureValue:
    """Return the value; where gradients that are not finite left none, say so."""
    if value.value is not None or "gradient" not in item.info.inputs:
        return value
    for kind in (kind for kind in get_args(Examples) if kind in item.info.inputs):
        n_bad = int((~context.gradients(kind).inputs.isfinite()).flatten(1).any(1).sum())
        if n_bad and value.reason.startswith("the value is not finite"):
            reason = f"the loss has a gradient that is not finite at {n_bad} of {context.n} {_EXAMPLES[kind]}"
            return replace(value, reason=reason)
    return value


def shared_gradients(measures: Iterable[Measure], *inputs: str) -> frozenset[Examples]:
    """Return the kinds of examples for which some measure reads the shared backward pass (input ``gradient``).

    With ``weights`` only those count that read the weights too, and with them the gradient in the weights.
    """
    kinds: set[Examples] = set()
    for item in measures:
        if {"gradient", *inputs} <= set(item.info.inputs):
            kinds.update(kind for kind in get_args(Examples) if kind in item.info.inputs)
    return frozenset(kinds)


def in_dtype(network: nn.Module, images: Tensor) -> nn.Module:
    """Return the network, or a copy, in the dtype and on the device of images [n, ...], in evaluation mode."""
    first = next(network.parameters(), None)
    if first is None:
        return network.eval()
    # Before the copy changes its dtype, since computed weights are those of the network's own.
    network = plain(network.eval(), images[:1].detach().to(first)).network
    if first.dtype == images.dtype and first.device == images.device:
        return network
    return copied(network).to(images).eval()


@contextmanager
def as_found(network: nn.Module) -> Iterator[None]:
    """Leave modes and gradients of the network as they were, whatever happens.

    Its parameters need no gradients meanwhile: third-party attacks call ``backward`` and would add to what is there.
    """
    modes = {name: module.training for name, module in network.named_modules()}
    gradients = {name: (parameter.grad, parameter.requires_grad) for name, parameter in network.named_parameters()}
    network.requires_grad_(False)
    try:
        yield
    finally:
        for name, module in network.named_modules():
            module.training = modes[name]
        for name, parameter in network.named_parameters():
            parameter.grad, needed = gradients[name]
            parameter.requires_grad_(needed)
