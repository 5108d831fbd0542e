"""Checks a network on test images: preflight, clean accuracy, and whether another normalisation would do better."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from measurebench.attacks.audit import is_correct
from measurebench.checks.results import CheckLine, Effort
from measurebench.core.specs import NORMALIZATIONS, Normalization
from measurebench.models import LoadedModel
from measurebench.models.normalized import Normalized, normalized
from measurebench.models.verify import accuracy_finding, preflight_findings

__all__ = ["accuracy_lines", "correct_predictions", "n_outputs", "nan_lines", "normalization_lines", "preflight_lines"]

_PREFLIGHT_IMAGES = 8
_TRIAL_IMAGES = 200
# By how much another normalisation must be better before it is mentioned: the standard error of an accuracy of 0.5 on
# 200 images is 0.035, but both are taken on the same images, which leaves far less noise in their difference.
_CLEARLY_BETTER = 0.05


def correct_predictions(network: nn.Module, images: Tensor, labels: Tensor, batch: int = 100) -> Tensor:
    """Return which images [n, C, H, W] are classified as labels [n] say, bool [n] on the CPU."""
    return is_correct(_logits(network, images, batch), labels)


def n_outputs(network: nn.Module, images: Tensor) -> int:
    """Return the number of classes that the network tells apart: its width at the first of images [n, C, H, W]."""
    return _logits(network, images[:1]).shape[1]


def nan_lines(network: nn.Module, images: Tensor) -> list[CheckLine]:
    """Return a line that counts the images [n, C, H, W] at which the output is NaN, if there are any."""
    n_nan = int(_logits(network, images).isnan().any(1).sum())
    text = f"the output is NaN for {n_nan} of {len(images)} images, which count as wrong; no measure can use them"
    return [CheckLine("WRONG", "output", text)] if n_nan else []


def _logits(network: nn.Module, images: Tensor, batch: int = 100) -> Tensor:
    """Return the logits [n, K] of images [n, C, H, W], on the CPU."""
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    with torch.no_grad():
        return torch.cat([network(images[i : i + batch].to(device)).cpu() for i in range(0, len(images), batch)])


def preflight_lines(
    network: nn.Module, images: Tensor, labels: Tensor, n_classes: int, at_least: bool = False
) -> list[CheckLine]:
    """Return what the preflight finds wrong on a few of the images [n, C, H, W], labels [n], or that all is well."""
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    few, their_labels = images[:_PREFLIGHT_IMAGES].to(device), labels[:_PREFLIGHT_IMAGES].to(device)
    if findings := preflight_findings(network, few, their_labels, n_classes, at_least):
        return [CheckLine("WRONG", "preflight", str(finding)) for finding in findings]
    return [CheckLine("ok", "preflight", "one logit per class, the same in each pass, with a gradient")]


def accuracy_lines(published: float | None, n_correct: int, n: int, n_classes: int) -> list[CheckLine]:
    """Compare clean accuracy with the published figure, or with guessing where none is published."""
    text = f"{n_correct / n:.4f} ({n_correct} of {n} test images)"
    if published is not None:
        if finding := accuracy_finding(published, n_correct, n):
            return [CheckLine("WRONG", "clean accuracy", str(finding).removeprefix("clean accuracy: "))]
        return [CheckLine("ok", "clean accuracy", f"{text}, {published:.4f} published")]
    if n_correct / n < 2 / n_classes:
        cause = "other classes, another normalisation, or weights that were not trained?"
        return [CheckLine("WRONG", "clean accuracy", f"expected better than guessing, got {text}; {cause}")]
    return [CheckLine("ok", "clean accuracy", f"{text}; no published figure to compare with")]


def normalization_lines(
    model: LoadedModel, images: Tensor, labels: Tensor, correct: Tensor, effort: Effort
) -> list[CheckLine]:
    """Name another usual normalisation with which the network is clearly better: the present one is likely wrong.

    ``images`` [n, C, H, W], ``labels`` [n]; ``correct`` bool [n] tells which of them are right as the model is.
    """
    if model.spec.source == "robustbench" or images.shape[1] != 3:
        return []
    few, their_labels = images[:_TRIAL_IMAGES], labels[:_TRIAL_IMAGES]
    bare = model.network.network if isinstance(model.network, Normalized) else model.network
    used = replace(model.spec.normalization, stated=True)
    best, best_name = float(correct[: len(few)].double().mean()) + _CLEARLY_BETTER, ""
    for name in ("none", *NORMALIZATIONS):
        if (other := Normalization.named(name)) == used:
            continue
        tried = normalized(bare, other).to(effort.device).eval()
        reached = float(correct_predictions(tried, few, their_labels).double().mean())
        if reached > best:
            best, best_name = reached, name
    if not best_name:
        return []
    text = f"with {best_name} the clean accuracy is {best:.4f} on {len(few)} images; is {best_name} the right one?"
    return [CheckLine("hint", "normalization", text)]
