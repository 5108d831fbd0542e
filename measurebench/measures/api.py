"""Measures one network in memory."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import get_args

import torch
from torch import Tensor, nn

from measurebench.compute.numerics import full_precision
from measurebench.core.config import PGD_STEPS
from measurebench.core.errors import BadInputError
from measurebench.core.info import Examples, Split
from measurebench.core.threat import ThreatModel
from measurebench.measures.context import MeasureContext, MeasureSettings
from measurebench.measures.registry import Measure, select_measures
from measurebench.measures.robustness.accuracy import AttackAccuracy
from measurebench.measures.value import MeasureValue, UndefinedMeasureError
from measurebench.models.effective import copied, plain

__all__ = ["evaluate", "measure", "shared_gradients"]

_SLACK = 1e-6  # room for the rounding of images that were normalised and denormalised once


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

    ``images`` float [n, ...] in [0, 1], of any shape that the network takes; ``labels`` int64 [n]; ``adversarial``
    [n, ...] stands in for PGD's examples; ``radius`` in pixel units. ``measures`` is ``core``, ``all``, or ids
    (``local_lip:reference`` for a named variant). Computes in the dtype of ``images`` (in a copy of the network where
    its own differs), on a GPU without TF32. Weights, buffers, mode and gradients of the network are as found
    afterwards. Slow attacks are left out of ``core`` here: ask for ``autoattack_accuracy``. Raises BadInputError for
    inputs it cannot use.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> images, labels = torch.rand(8, 1, 2, 2), torch.zeros(8, dtype=torch.int64)
    >>> measure(network, images, labels, "num_params")["num_params"].value
    15.0
    """
    chosen = [m for m in select_measures(measures) if measures != "core" or not _is_slow(m)]
    _check(images, labels, adversarial)
    settings = MeasureSettings(
        ThreatModel.parse(norm, radius), seed, split, pgd_steps, gradients=shared_gradients(chosen)
    )
    with _as_found(network), full_precision():
        context = MeasureContext(
            _in_dtype(network, images),
            images.detach(),
            labels,
            settings,
            initial_network=None if initial_network is None else _in_dtype(initial_network, images),
            adversarial=adversarial,
            batch_size=batch_size,
        )
        return {item.info.id: evaluate(item, context) for item in chosen}


def _is_slow(item: Measure) -> bool:
    """Tell whether a measure is the accuracy under an attack that usually takes fewer examples than the others."""
    return isinstance(item, AttackAccuracy) and bool(item.attack.info.counted_by)


def evaluate(item: Measure, context: MeasureContext) -> MeasureValue:
    """Return the measure's value; where it is not defined, the reason.

    Raises BadInputError for a measure that returns something else.
    """
    if context.no_weights and "weights" in item.info.inputs:
        return MeasureValue.undefined(context.no_weights)
    try:
        value: object = item(context)
        if not isinstance(value, MeasureValue):
            hint = "return MeasureValue(value), or MeasureValue.mean(values) for one value per image"
            raise BadInputError(f"measure {item.info.id!r}", "a MeasureValue", repr(value), hint)
        return value.checked()
    except UndefinedMeasureError as undefined:
        return MeasureValue.undefined(str(undefined))


def shared_gradients(measures: Iterable[Measure]) -> frozenset[Examples]:
    """Return the kinds of examples for which some measure reads the shared backward pass (input ``gradient``)."""
    kinds: set[Examples] = set()
    for item in measures:
        if "gradient" in item.info.inputs:
            kinds.update(kind for kind in get_args(Examples) if kind in item.info.inputs)
    return frozenset(kinds)


def _check(images: Tensor, labels: Tensor, adversarial: Tensor | None) -> None:
    """Raise BadInputError where images and labels are not what ``measure`` asks for."""
    if len(images) == 0 or len(images) != len(labels):
        raise BadInputError("labels", f"one per image, {len(images)} images and at least one", str(len(labels)))
    if labels.dtype != torch.int64:
        raise BadInputError("labels", "torch.int64", str(labels.dtype))
    if labels.dim() != 1:
        raise BadInputError("labels", f"shape ({len(images)},)", str(tuple(labels.shape)))
    if int(labels.min()) < 0:
        raise BadInputError("labels", "classes from 0", str(int(labels.min())))
    for name, tensor in (("images", images), ("adversarial", adversarial)):
        if tensor is None:
            continue
        kind = str(tensor.dtype).removeprefix("torch.")
        if not tensor.is_floating_point():
            raise BadInputError(name, "float32 or float64 in [0, 1]", kind, "divide uint8 images by 255")
        low, high = float(tensor.min()), float(tensor.max())
        if not (low >= -_SLACK and high <= 1 + _SLACK):
            hint = "was the input normalised twice?" if low < 0 else "divide by 255?"
            raise BadInputError(name, f"{kind} in [0, 1]", f"{kind} in [{low:.4g}, {high:.4g}]", hint)


def _in_dtype(network: nn.Module, images: Tensor) -> nn.Module:
    """Return the network, or a copy, in the dtype and on the device of the images, in evaluation mode."""
    first = next(network.parameters(), None)
    if first is None:
        return network.eval()
    # Before the copy changes its dtype, since computed weights are those of the network's own.
    network = plain(network.eval(), images[:1].detach().to(first)).network
    if first.dtype == images.dtype and first.device == images.device:
        return network
    return copied(network).to(images).eval()


@contextmanager
def _as_found(network: nn.Module) -> Iterator[None]:
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
