"""The referee of every attack: it measures distances, checks the box and compares fresh predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from measurebench.attacks.geometry import distance
from measurebench.core.errors import BadInputError
from measurebench.core.threat import ThreatModel

__all__ = ["TOLERANCE", "AttackOutcome", "audit", "is_correct"]

# Room for rounding, not for attacks: float32 coordinates in [0, 1] are rounded by 6e-8 at most, so that the L2 length
# of d of them is off by less than 1e-5 for d < 3e4, and 1e-5 is 0.03 % of the smallest usual radius, 8/255.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class AttackOutcome:
    """What an attack really did, example by example.

    ``adversarial`` [n, ...] as the attack returned them; ``correct`` bool [n], the clean verdict; ``robust``
    bool [n], correct on the clean image and not overturned by an admissible adversarial one; ``distances``
    float64 [n] in the threat model's norm (0 for images that are not finite); ``violations`` bool [n], images that
    are not finite, or outside the ball or the box. A violation never counts as a success, so an attack with
    violations has shown less than its robust accuracy says. Where an image is not finite the attack failed: the
    example does not count as robust either. ``n_passes`` are forward and backward passes per example,
    where known, ``flags`` warnings, ``counts`` numbers of examples that the attack told, by name, and ``details``
    tensors [n] that are kept with the verdicts. ``search`` names the network that searched, where it was not the judge.
    """

    adversarial: Tensor
    correct: Tensor
    robust: Tensor
    distances: Tensor
    violations: Tensor
    n_passes: int | None = None
    flags: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, Tensor] = field(default_factory=dict)
    search: str = ""


def audit(
    images: Tensor,
    labels: Tensor,
    adversarial: Tensor,
    clean_logits: Tensor,
    adversarial_logits: Tensor,
    threat: ThreatModel,
    n_passes: int | None = None,
    flags: Sequence[str] = (),
    counts: Mapping[str, int] | None = None,
    undecided: Tensor | None = None,
    details: Mapping[str, Tensor] | None = None,
) -> AttackOutcome:
    """Judge adversarial images [n, ...] by their distance, the box and fresh predictions.

    Logits are those of the network at ``images`` and at ``adversarial``, [n, K]. Examples that are ``undecided``,
    bool [n], do not count as robust. Raises BadInputError where the
    attack changed the shape.

    >>> from measurebench.core.threat import ThreatModel
    >>> images, labels = torch.tensor([[0.5], [0.5]]), torch.tensor([0, 0])
    >>> found = images + torch.tensor([[0.1], [0.3]])  # the second one is too far
    >>> right, wrong = torch.tensor([[1.0, 0.0]] * 2), torch.tensor([[0.0, 1.0]] * 2)
    >>> outcome = audit(images, labels, found, right, wrong, ThreatModel.parse("Linf", "0.1"))
    >>> outcome.robust.tolist(), outcome.violations.tolist()
    ([False, True], [False, True])
    """
    if adversarial.shape != images.shape:
        raise BadInputError("adversarial images", f"shape {tuple(images.shape)}", str(tuple(adversarial.shape)))
    finite = torch.isfinite(adversarial).flatten(1).all(1)
    safe = torch.where(finite.reshape(-1, *[1] * (images.dim() - 1)), adversarial, images)
    distances = distance(safe, images, threat.norm)
    box = ((safe >= -TOLERANCE) & (safe <= 1 + TOLERANCE)).flatten(1).all(1)
    violations = ~finite | ~box | (distances > threat.radius + TOLERANCE)
    correct = is_correct(clean_logits, labels)
    overturned = ~is_correct(adversarial_logits, labels) & ~violations
    raised = list(flags)
    if n_nan := int((clean_logits.isnan().any(1) | (adversarial_logits.isnan().any(1) & ~violations)).sum()):
        raised.append(f"the network's output is NaN for {n_nan} of {len(labels)} images; they count as misclassified")
    if n_violations := int(violations.sum()):
        raised.append(
            f"{n_violations} of {len(labels)} adversarial images leave the {threat} ball or the box [0, 1]"
            f" ({_furthest(finite, distances)}); they do not count as successes"
        )
    if n_failed := int((~finite).sum()):
        raised.append(f"the attack failed on {n_failed} images with pixels that are not finite; they are not robust")
    # An output that is not finite is a failure of the attack, and a failure shows no robustness.
    robust = correct & ~overturned & finite
    if undecided is not None:
        robust &= ~undecided
    told = dict(counts or {}), dict(details or {})
    return AttackOutcome(adversarial, correct, robust, distances, violations, n_passes, tuple(raised), *told)


def _furthest(finite: Tensor, distances: Tensor) -> str:
    """Say how far the images lie, and how many have pixels that are not numbers."""
    n_bad = int((~finite).sum())
    return f"largest distance {float(distances.max()):.6g}" + (
        f"; {n_bad} with a pixel that is not finite" if n_bad else ""
    )


def is_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Tell which rows of logits [n, K] are largest at their label [n], bool [n]; never where one of them is NaN.

    Of equal logits the first counts as the prediction.

    >>> is_correct(torch.tensor([[1.0, 0.0], [torch.nan, 0.0]]), torch.tensor([0, 0]))
    tensor([ True, False])
    """
    right: Tensor = (logits.argmax(1) == labels) & ~logits.isnan().any(1)
    return right
