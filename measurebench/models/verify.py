"""Checks of a loaded model before it is measured: a preflight on a few images, and the published clean accuracy."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from measurebench.core.errors import BadInputError, ModelError
from measurebench.core.machine_faults import raise_machine_fault
from measurebench.core.unit_range import is_unit_range
from measurebench.models.loaded import LoadedModel

__all__ = [
    "SIGNIFICANCE",
    "Finding",
    "accuracy_finding",
    "check_images",
    "preflight",
    "preflight_findings",
    "verify_clean_accuracy",
]

# Hundreds of models are compared with their papers: at 5 % dozens would fail by chance, at 1e-4 none is expected to.
SIGNIFICANCE = 1e-4
_AGREEMENT = 1e-3  # of the largest logit; other batch sizes choose other kernels, which round differently


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a model: what was expected, what came, and the likely cause."""

    subject: str
    expected: str
    got: str
    cause: str = ""

    def __str__(self) -> str:
        return f"{self.subject}: expected {self.expected}, got {self.got}" + (f"; {self.cause}" if self.cause else "")


def preflight(
    model: LoadedModel | nn.Module, images: Tensor, labels: Tensor, n_classes: int, at_least: bool = False
) -> None:
    """Check that a network behaves as a classifier of images [n, C, H, W] in [0, 1] with labels [n]; a few will do.

    With ``at_least`` the network may have more than ``n_classes`` outputs. Raises BadInputError for images that cannot
    be used, ModelError with the first finding about the model.
    """
    check_images(images, labels, n_classes)
    if found := preflight_findings(model, images, labels, n_classes, at_least):
        raise ModelError(f"{_name(model)}: {found[0]}")


def check_images(images: Tensor, labels: Tensor, n_classes: int) -> None:
    """Check that images [n, ...] are floats in [0, 1], but for rounding, and that labels [n] are classes.

    Raises BadInputError, which says what is wrong with them.
    """
    if not images.is_floating_point():
        raise BadInputError("images", "floats in [0, 1]", str(images.dtype).removeprefix("torch."), "divide by 255?")
    if len(images) == 0 or len(images) != len(labels):
        raise BadInputError("images", "one label for each image, at least one", f"{len(images)} and {len(labels)}")
    low, high = float(images.min()), float(images.max())
    if not is_unit_range(low, high):
        cause = "divide by 255?" if low >= 0 and high > 2 else "was the input normalised already?"
        kind = str(images.dtype).removeprefix("torch.")
        raise BadInputError("images", f"{kind} in [0, 1]", f"{kind} in [{low:.4g}, {high:.4g}]", cause)
    if int(labels.min()) < 0 or int(labels.max()) >= n_classes:
        got = f"{int(labels.min())} to {int(labels.max())}"
        raise BadInputError("labels", f"classes 0 to {n_classes - 1}", got, "is this the right dataset?")


def preflight_findings(
    model: LoadedModel | nn.Module, images: Tensor, labels: Tensor, n_classes: int, at_least: bool = False
) -> list[Finding]:
    """Return what is wrong with the network on images [n, C, H, W] with labels [n]; an empty list if nothing is.

    With ``at_least`` the network may have more than ``n_classes`` outputs.
    """
    network = model.network if isinstance(model, LoadedModel) else model
    if modes := [name or "the network" for name, module in network.named_modules() if module.training]:
        return [
            Finding(
                "mode",
                "eval mode",
                f"training mode in {modes[0]}",
                "call eval(): dropout and batch norm differ",
            )
        ]
    before = images.clone()
    logits = _forward(network, images)
    if isinstance(logits, Finding):
        return [logits]
    findings = _output_findings(logits, len(images), n_classes, at_least)
    if not findings:
        findings = _behaviour_findings(network, images, before, logits)
    return findings or _gradient_findings(network, images, labels)


def _forward(network: nn.Module, images: Tensor) -> Tensor | Finding:
    """Run the network without gradients; what it raises is a finding."""
    try:
        with torch.no_grad():
            out = network(images)
    except torch.OutOfMemoryError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's forward may raise anything
        raise_machine_fault(error, "forward pass")
        text = str(error).strip().splitlines()
        shape = list(images.shape)
        return Finding(
            "forward pass",
            f"logits for images {shape}",
            f"{type(error).__name__}: {text[0][:200] if text else ''}",
            "is the architecture meant for images of this size and number of channels?",
        )
    if not isinstance(out, Tensor):
        return Finding(
            "output",
            "one tensor of logits",
            type(out).__name__,
            "wrap the network so that it returns its logits alone",
        )
    return out


def _output_findings(logits: Tensor, n: int, n_classes: int, at_least: bool) -> list[Finding]:
    """Check shape, width, finiteness, and that the output is not probabilities."""
    shape = list(logits.shape)
    if logits.ndim != 2 or shape[0] != n:
        return [
            Finding(
                "output",
                f"logits of shape [{n}, {n_classes}]",
                f"{shape}",
                "does the network pool and flatten?",
            )
        ]
    if shape[1] < n_classes or (shape[1] > n_classes and not at_least):
        wanted = f"{'at least ' if at_least else ''}{n_classes} classes"
        return [Finding("output", wanted, f"{shape[1]}", "was it trained on this dataset?")]
    if not bool(torch.isfinite(logits).all()):
        bad = int((~torch.isfinite(logits)).any(dim=1).sum())
        return [
            Finding(
                "output",
                "finite logits",
                f"NaN or infinity for {bad} of {n} images",
                "are the weights damaged?",
            )
        ]
    sums = logits.double().sum(dim=1)
    if bool((logits >= 0).all()) and bool(((sums - 1).abs() < 1e-3).all()):
        return [
            Finding(
                "output",
                "logits",
                "probabilities (every row is non-negative and sums to 1)",
                "take the softmax out of the network",
            )
        ]
    if bool((logits == logits[:1]).all()) and n > 1:
        return [
            Finding(
                "output",
                "logits that depend on the image",
                f"the same row for all {n} images",
                "were the weights loaded, and is the normalisation right?",
            )
        ]
    return []


def _behaviour_findings(network: nn.Module, images: Tensor, before: Tensor, logits: Tensor) -> list[Finding]:
    """Check that a pass leaves the images alone, gives the same again, and does not depend on the batch."""
    if not torch.equal(images, before):
        return [
            Finding(
                "forward pass",
                "images left as they were",
                "images changed in place",
                "copy them in forward()",
            )
        ]
    again = _forward(network, images)
    alone = _forward(network, images[:1])
    scale = float(logits.abs().max()) + 1e-12
    for other, count, cause in (
        (again, len(images), "it draws random numbers: dropout or noise that stays on in eval mode"),
        (alone, 1, "batch norm in training mode inside forward()?"),
    ):
        if isinstance(other, Finding):
            return [other]
        if (gap := float((other[:count] - logits[:count]).abs().max())) > _AGREEMENT * scale:
            what = "two passes that agree" if count > 1 or other is again else "logits that do not depend on the batch"
            return [Finding("forward pass", what, f"logits that differ by {gap:.3g}", cause)]
    return []


def _gradient_findings(network: nn.Module, images: Tensor, labels: Tensor) -> list[Finding]:
    """Check that a gradient reaches the images: of each label's logit against the mean of all."""
    probe = images.detach().clone().requires_grad_(True)
    cause = "a no_grad, detach, rounding or argmax inside forward() hides the gradient from attacks"
    try:
        with torch.enable_grad():
            logits = network(probe)
            margin = (logits.gather(1, labels.view(-1, 1)).squeeze(1) - logits.mean(dim=1)).sum()
            (gradient,) = torch.autograd.grad(margin, probe, allow_unused=True)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        return [Finding("input gradient", "a gradient", str(error).splitlines()[0][:160], cause)]
    if gradient is None or not bool(gradient.any()):
        return [Finding("input gradient", "a gradient that is not zero", "zero for every pixel", cause)]
    if not bool(torch.isfinite(gradient).all()):
        return [Finding("input gradient", "finite numbers", "NaN or infinity", "a square root or log at zero?")]
    return []


def verify_clean_accuracy(model: LoadedModel, n_correct: int, n: int, expected: float | None = None) -> None:
    """Check that n_correct of n images agrees with the published accuracy, by a two-sided binomial test.

    ``expected`` defaults to the accuracy of the specification; if that has none, nothing is checked. Raises ModelError
    with both numbers if a difference as large would come by chance less than once in ten thousand times.
    """
    published = model.spec.expected_clean_accuracy if expected is None else expected
    if published is None or n == 0:
        return
    if finding := accuracy_finding(published, n_correct, n):
        raise ModelError(f"{_name(model)}: {finding}")


def accuracy_finding(published: float, n_correct: int, n: int) -> Finding | None:
    """Return how a count of correct predictions differs from the published accuracy, or None if it agrees.

    >>> accuracy_finding(0.90, 88, 100) is None
    True
    >>> print(accuracy_finding(0.90, 60, 100))
    clean accuracy: expected 0.9000 as published, got 0.6000 (60 of 100 images); is the normalisation ...
    """
    if _two_sided(n_correct, n, published) >= SIGNIFICANCE:
        return None
    accuracy = n_correct / n
    if accuracy > published:
        cause = "are these training images, or other weights?"
    elif accuracy < 0.5 * published:
        cause = "was the input normalised twice, or not at all? are these its own weights and classes?"
    else:
        cause = "is the normalisation the one of its training, and are these the weights that were published?"
    return Finding(
        "clean accuracy",
        f"{published:.4f} as published",
        f"{accuracy:.4f} ({n_correct} of {n} images)",
        cause,
    )


def _two_sided(k: int, n: int, probability: float) -> float:
    """Return twice the smaller tail of the binomial distribution at k: its exact p-value, never above 1."""
    from scipy.special import bdtr

    return min(1.0, 2 * float(min(bdtr(k, n, probability), bdtr(n - k, n, 1 - probability))))


def _name(model: LoadedModel | nn.Module) -> str:
    """Name the model in a message."""
    return model.spec.reference or model.spec.id if isinstance(model, LoadedModel) else type(model).__name__
