"""Projected gradient descent (Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks")."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from measurebench.attacks.ascent import NONFINITE_GRADIENTS, Ascent
from measurebench.attacks.losses import cross_entropy_sum
from measurebench.attacks.protocol import AttackContext, AttackInfo, AttackResult
from measurebench.attacks.registry import register_attack
from measurebench.attacks.settings import with_own_id
from measurebench.attacks.starts import keyed_start
from measurebench.core.config import PGD_STEP_FRACTION, PGD_STEPS
from measurebench.core.errors import BadInputError

__all__ = ["PGD"]


@register_attack
@dataclass(frozen=True)
class PGD:
    """Ascent on the cross-entropy by steepest steps, projected to the threat model; the last iterate counts.

    A step has ``step_fraction`` of the radius (1/4: 2/255 for 8/255), or the length ``step`` in pixel units where it
    is given. Of several ``restarts`` the first that turns the prediction counts, else the one with the largest loss.
    With targets the loss towards them descends. The random start depends on each example's key and the seed alone.
    """

    steps: int = PGD_STEPS
    step_fraction: float = PGD_STEP_FRACTION
    step: float | None = None
    restarts: int = 1
    start: bool = True

    base: ClassVar[AttackInfo] = AttackInfo(
        id="pgd",
        title="PGD",
        source="Madry et al. 2018; 10 steps of radius / 4, random start",
        explanation="Steps along the gradient of the loss, projected to the ball around the image.",
        cost="10(F+B)+F",
        examples="pgd",
        batch_independent=True,
        targeted=True,
    )

    def __post_init__(self) -> None:
        for name, least in (("steps", 0), ("restarts", 1)):
            if getattr(self, name) < least:
                raise BadInputError(f"pgd: {name}", f"a whole number, at least {least}", str(getattr(self, name)))
        for name in ("step_fraction", "step"):
            if (length := getattr(self, name)) is not None and not length > 0:
                raise BadInputError(f"pgd: {name}", "a number above 0", str(length))

    @property
    def info(self) -> AttackInfo:
        """Info of PGD with these settings."""
        return with_own_id(self.base, self)

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, context: AttackContext) -> AttackResult:
        """Return adversarial images [n, ...] within the radius and [0, 1], in the dtype of ``images``."""
        points, blind = self._climb(network, images, labels, context, 0)
        for restart in range(1, self.restarts):
            others, more = self._climb(network, images, labels, context, restart)
            blind |= more
            better = _better(network, others, points, labels, context.targets)
            points = torch.where(better.reshape(-1, *[1] * (images.dim() - 1)), others, points)
        n_passes = 2 * self.steps * self.restarts
        if not (n_blind := int(blind.sum())):
            return AttackResult(points, (), n_passes)
        return AttackResult(points, (NONFINITE_GRADIENTS,), n_passes, {"n_nonfinite_gradients": n_blind})

    def _climb(
        self, network: nn.Module, images: Tensor, labels: Tensor, context: AttackContext, restart: int
    ) -> tuple[Tensor, Tensor]:
        """Return the last iterate of one restart, and where some gradient was not finite, bool [n]."""
        norm, radius = context.threat.norm, context.threat.radius
        stream = (context.seed, "pgd", *([restart] if restart else []))
        points = keyed_start("uniform" if self.start else "none", images, context.keys, norm, radius, *stream)
        aim, sign = (labels, 1.0) if context.targets is None else (context.targets, -1.0)
        climb = Ascent(norm, radius, self.step_fraction * radius if self.step is None else self.step, self.steps, sign)
        # The largest entry is not finite where any is not, and costs a third of asking each.
        largest = torch.zeros_like(images[:, :0].flatten(1).sum(1))
        for step in climb.iterates(lambda x: cross_entropy_sum(network(x), aim), images, points):
            points = step.points
            largest = torch.maximum(largest, step.gradient.flatten(1).abs().amax(1))
            del step
        return points.detach(), ~largest.isfinite()


def _better(network: nn.Module, a: Tensor, b: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
    """Tell where points a [n, ...] attack better than b: only they reach the aim, or both miss and they are closer."""
    with torch.no_grad():
        ours, others = network(a), network(b)
    if targets is None:
        hit, had = ours.argmax(1) != labels, others.argmax(1) != labels
        nearer = _losses(ours, labels) > _losses(others, labels)
    else:
        hit, had = ours.argmax(1) == targets, others.argmax(1) == targets
        nearer = _losses(ours, targets) < _losses(others, targets)
    better: Tensor = ~had & (hit | nearer)
    return better


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="none")
