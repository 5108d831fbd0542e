"""Warnings about a network or an evaluation, with the published thresholds, computed once over the whole set."""

import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from measurebench.attacks.standard.networks import coarse

__all__ = ["about_gradients", "about_network", "about_square"]

_CALLS = 5
_RANDOM = 1e-4
_PROBABILITIES = 1e-5
_SQUARE = 0.002
_GRADIENT_CALLS = {"grad", "backward", "_make_grads"}


def about_network(logits: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, seen: Tensor) -> list[str]:
    """Return what is suspicious in how the network answers at the images [n, ...]; ``seen`` [n, K] is one answer.

    A network whose answers differ from call to call, whose outputs are probabilities or have 16 bits, or which
    computes gradients when it predicts.
    """
    flags = []
    answers = [seen, *(logits(images) for _ in range(_CALLS - 1))]
    if _varies(answers, labels):
        flags.append("it seems to be a randomized defense: its outputs differ from call to call")
    largest, smallest = float(seen.amax()), float(seen.amin())
    sums = bool(((seen.sum(-1) - 1.0).abs() < _PROBABILITIES).all())
    if largest < 1 + _PROBABILITIES and smallest > -_PROBABILITIES and sums:
        flags.append("it seems that the outputs are probabilities; AutoAttack needs logits")
    if coarse(seen):
        flags.append("the logits carry 16 bits only; margins below their resolution are lost")
    if odd := int((~torch.isfinite(seen)).any(1).sum()):
        flags.append(f"the logits of {odd} of {len(seen)} images are not finite; they count as wrong")
    if _takes_gradients(logits, images[:1]):
        flags.append("it seems to be a dynamic defense: it computes gradients when it predicts")
    return flags


def _varies(answers: Sequence[Tensor], labels: Tensor) -> bool:
    """Tell whether answers [n, K] to the same images differ."""
    correct = {int((answer.argmax(1) == labels).sum()) for answer in answers}
    units = [answer / (answer.norm(dim=1, keepdim=True) + 1e-10) for answer in answers]
    apart = max(float((unit - other).nan_to_num().norm(dim=1).amax()) for unit in units for other in units)
    return len(correct) > 1 or apart > _RANDOM


def _takes_gradients(logits: Callable[[Tensor], Tensor], images: Tensor) -> bool:
    """Tell whether a prediction calls a function of autograd."""
    called: set[str] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_name in _GRADIENT_CALLS:
            called.add(frame.f_code.co_name)

    before = sys.gettrace()
    sys.settrace(note)
    try:
        logits(images)
    finally:
        sys.settrace(before)
    return bool(called)


def about_gradients(n_flat: int, share_odd: float) -> list[str]:
    """Return what is suspicious in the gradients: first ones that are zero, and entries that are not finite."""
    flags = []
    if n_flat:
        flags.append(
            f"there are {n_flat} images with zero gradient of the targeted loss; gradient attacks may be unreliable"
        )
    if share_odd > 0:
        flags.append(f"{share_odd:.2%} of the gradient entries are not finite and count as zero")
    return flags


def about_square(accuracy: dict[str, float]) -> list[str]:
    """Return whether Square lowered the accuracy left by the other attacks by more than 0.2 points."""
    others = [value for name, value in accuracy.items() if name != "square"]
    if "square" not in accuracy or len(accuracy) < 3 or accuracy["square"] >= min(others) - _SQUARE:
        return []
    lowered = min(others) - accuracy["square"]
    return [f"Square Attack has decreased the robust accuracy by {lowered:.2%}; the gradient attacks may be unreliable"]
