"""The referee of every attack: it measures distance, checks the box and predicts again."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from measurebench.attacks.geometry import distance
from measurebench.core.errors import BadInputError
from measurebench.core.threat import ThreatModel

__all__ = ["TOLERANCE", "AttackOutcome", "audit", "predict"]

# Float32 coordinates in [0, 1] are rounded by 6e-8 at most; a sum of d squared errors stays below 1e-5 for d < 3e4.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class AttackOutcome:
    """What an attack really did, example by example.

    ``adversarial`` [n, ...] as the attack returned them; ``correct`` bool [n], the clean verdict; ``robust``
    bool [n], correct on the clean image and not overturned by an admissible adversarial one; ``distances``
    float64 [n] in the threat model's norm; ``violations`` bool [n], outside the ball or the box (they never
    count as success); ``n_passes`` forward and backward passes per example, where known; ``flags`` warnings.
    """

    adversarial: Tensor
    correct: Tensor
    robust: Tensor
    distances: Tensor
    violations: Tensor
    n_passes: int | None = None
    flags: tuple[str, ...] = ()


def audit(
    images: Tensor,
    labels: Tensor,
    adversarial: Tensor,
    clean_logits: Tensor,
    adversarial_logits: Tensor,
    threat: ThreatModel,
    n_passes: int | None = None,
    flags: Sequence[str] = (),
) -> AttackOutcome:
    """Judge adversarial images by their distance, the box and fresh predictions.

    Logits are those of the network at ``images`` and at ``adversarial``, [n, K]. Raises BadInputError where
    the attack changed the shape or returned something that is not finite.
    """
    if adversarial.shape != images.shape:
        raise BadInputError("adversarial images", f"shape {tuple(images.shape)}", str(tuple(adversarial.shape)))
    finite = torch.isfinite(adversarial).flatten(1).all(1)
    safe = torch.where(finite.reshape(-1, *[1] * (images.dim() - 1)), adversarial, images)
    distances = distance(safe, images, threat.norm)
    box = ((safe >= -TOLERANCE) & (safe <= 1 + TOLERANCE)).flatten(1).all(1)
    violations = ~finite | ~box | (distances > threat.radius + TOLERANCE)
    correct = clean_logits.argmax(1) == labels
    overturned = (adversarial_logits.argmax(1) != labels) & ~violations
    raised = list(flags)
    if n_violations := int(violations.sum()):
        raised.append(
            f"{n_violations} of {len(labels)} adversarial images leave the {threat} ball or the box [0, 1]"
            f" (largest distance {float(distances.max()):.6g}); they do not count as successes"
        )
    return AttackOutcome(adversarial, correct, correct & ~overturned, distances, violations, n_passes, tuple(raised))


def predict(network: nn.Module, images: Tensor, batch_size: int = 512) -> Tensor:
    """Return logits [n, K] without gradients."""
    with torch.no_grad():
        starts = range(0, len(images), batch_size)
        return torch.cat([network(images[start : start + batch_size]) for start in starts])
