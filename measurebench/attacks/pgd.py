"""Projected gradient descent (Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks")."""

from dataclasses import dataclass

from torch import Tensor, nn

from measurebench.attacks.ascent import Ascent
from measurebench.attacks.losses import cross_entropy_sum
from measurebench.attacks.starts import keyed_start
from measurebench.core.threat import ThreatModel

__all__ = ["PGD"]


@dataclass(frozen=True)
class PGD:
    """Ascent on the cross-entropy by steepest steps, projected to the threat model; the last iterate counts.

    ``step_fraction`` is the step over the radius (1/4: 2/255 for 8/255). With ``targets`` the loss towards
    them descends. The random start depends on each example's key, the seed and the name alone.
    """

    threat: ThreatModel
    steps: int = 10
    step_fraction: float = 0.25
    start: bool = True
    name: str = "pgd"

    def __call__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        keys: Tensor,
        seed: int,
        targets: Tensor | None = None,
    ) -> Tensor:
        """Return adversarial images [n, ...] within the radius and [0, 1], in the dtype of ``images``.

        ``keys`` int64 [n] name the examples; ``targets`` int64 [n] are classes to reach.
        """
        norm, radius = self.threat.norm, self.threat.radius
        start = keyed_start("uniform" if self.start else "none", images, keys, norm, radius, seed, self.name)
        aim = labels if targets is None else targets
        climb = Ascent(norm, radius, self.step_fraction * radius, self.steps, 1.0 if targets is None else -1.0)
        return climb(lambda points: cross_entropy_sum(network(points), aim), images, start)
