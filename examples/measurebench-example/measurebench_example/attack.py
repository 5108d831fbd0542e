"""An attack: one step of the length of the radius, from the image itself."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from measurebench.attacks.geometry import project, steepest
from measurebench.attacks.protocol import AttackContext, AttackInfo, AttackResult
from measurebench.attacks.registry import register_attack

__all__ = ["OneStep"]


@register_attack
@dataclass(frozen=True)
class OneStep:
    """The fast gradient (sign) method."""

    info: ClassVar[AttackInfo] = AttackInfo(
        id="one_step",
        title="One step",
        source="Goodfellow et al. 2015, arXiv:1412.6572, section 4",
        explanation="One step of the size of the radius along the sign (Linf) or the direction (L2) of the gradient.",
        cost="F+B",
        batch_independent=True,
    )

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, context: AttackContext) -> AttackResult:
        """Return images one step away from the given images [n, ...]."""
        threat = context.threat
        with torch.enable_grad():
            points = images.detach().clone().requires_grad_(True)
            loss = nn.functional.cross_entropy(network(points), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, points)
        step = threat.radius * steepest(gradient, threat.norm)
        return AttackResult(project(images + step, images, threat.norm, threat.radius), n_passes=2)
