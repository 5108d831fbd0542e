"""Two weak attacks, as baselines: one gradient step, and a random point of the ball."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from measurebench.attacks.pgd import PGD
from measurebench.attacks.protocol import AttackContext, AttackInfo, AttackResult
from measurebench.attacks.registry import register_attack

__all__ = ["FGSM", "RandomNoise"]


@register_attack
@dataclass(frozen=True)
class FGSM:
    """The fast gradient sign method: one step of the whole radius from the image, along the steepest direction.

    Goodfellow, Shlens and Szegedy 2015, "Explaining and harnessing adversarial examples", section 4. In L2 the step
    follows the normalised gradient. Robust accuracy under it alone says little; far more of it than under PGD is a sign
    of gradient masking.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        id="fgsm",
        title="FGSM",
        source="Goodfellow et al. 2015, section 4; one step of the radius, no random start",
        explanation="One step along the gradient of the loss, as long as the radius.",
        cost="F+B",
        batch_independent=True,
        targeted=True,
    )

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, context: AttackContext) -> AttackResult:
        """Return adversarial images [n, ...] within the radius and [0, 1], in the dtype of ``images``."""
        return PGD(steps=1, step_fraction=1.0, start=False)(network, images, labels, context)


@register_attack
@dataclass(frozen=True)
class RandomNoise:
    """A random point of the ball, uniform, which shows what noise alone does; it follows no gradient.

    It is the random start of PGD, cut to [0, 1], and depends on each example's key and the seed alone.
    """

    info: ClassVar[AttackInfo] = AttackInfo(
        id="noise",
        title="Random noise",
        source="uniform in the ball; the random start of PGD (Madry et al. 2018)",
        explanation="A random point of the ball around the image, as a baseline without any search.",
        cost="0",
        batch_independent=True,
    )

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor, context: AttackContext) -> AttackResult:
        """Return noisy images [n, ...] within the radius and [0, 1], in the dtype of ``images``."""
        return PGD(steps=0)(network, images, labels, context)
