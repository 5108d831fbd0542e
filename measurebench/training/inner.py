"""The inner maximisation of adversarial training: PGD on the objective's own loss."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from measurebench.attacks.geometry import project, steepest
from measurebench.attacks.pgd import input_gradient
from measurebench.core.threat import Norm, ThreatModel
from measurebench.training.objectives import Objective, Start

__all__ = ["GAUSSIAN_SIGMA", "InnerMaximization"]

GAUSSIAN_SIGMA = 0.001  # Zhang et al. 2019 and Wang et al. 2020, their code


@dataclass(frozen=True)
class InnerMaximization:
    """Steps of ``step_fraction`` radii from a random start, projected to the threat model; the last point counts.

    Unlike the attack that measures, its noise comes from the training's generator: it never needs to be the
    same for another batch size.
    """

    threat: ThreatModel
    steps: int
    step_fraction: float
    start: Start

    def __call__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        objective: Objective,
        generator: torch.Generator,
        share: float = 1.0,
    ) -> Tensor:
        """Return adversarial images [n, ...] within ``share`` of the radius, for a radius that grows in training.

        The random start is drawn for the whole radius and projected to its share.

        The network is attacked in eval mode and left in train mode: batch statistics of the attacked batch would
        make every example's attack depend on the others.
        """
        network.eval()
        norm, radius = self.threat.norm, share * self.threat.radius
        points = project(images + self._noise(images, generator), images, norm, radius)
        loss = objective.attack_loss(network, images)
        for _ in range(self.steps):
            gradient = input_gradient(network, points, labels, loss)
            points = project(points + self.step_fraction * radius * steepest(gradient, norm), images, norm, radius)
        network.train()
        return points.detach()

    def _noise(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the offset of the start: uniform in the ball, Gaussian, or none; on the CPU, for every device."""
        if self.start == "none":
            return torch.zeros_like(images)
        normal = self.start == "gaussian" or self.threat.norm is Norm.L2
        draw = torch.randn if normal else torch.rand
        offset = draw(images.shape, generator=generator).to(images)
        if self.start == "gaussian":
            return GAUSSIAN_SIGMA * offset
        if self.threat.norm is Norm.LINF:
            return (2 * offset - 1) * self.threat.radius
        share = torch.rand(len(images), generator=generator).to(images) ** (1.0 / images[0].numel())
        length = self.threat.radius * share.reshape(-1, *[1] * (images.dim() - 1))
        return steepest(offset, Norm.L2) * length
