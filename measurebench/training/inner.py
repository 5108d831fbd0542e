"""The inner maximisation of adversarial training: projected ascent on the objective's own loss."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from measurebench.attacks.ascent import Ascent, gradient_at
from measurebench.attacks.geometry import project
from measurebench.attacks.starts import Drawn, Start, start_offset
from measurebench.compute.graphs import Replayed, graphs_wanted
from measurebench.core.threat import ThreatModel
from measurebench.training.objectives import Objective

__all__ = ["InnerMaximization"]


@dataclass(frozen=True)
class InnerMaximization:
    """Steps of ``step_fraction`` radii from a random start, projected to the threat model; the last point counts.

    Its noise comes from the training's generator and so depends on the batch. The attacks that measure draw by
    example instead, since their numbers must not depend on the batch size.
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
        replayed: Replayed | None = None,
    ) -> Tensor:
        """Return adversarial images [n, ...] within ``share`` of the radius, for a radius that grows in training.

        ``replayed`` runs the network's passes on a GPU, where it may replay them.

        The random start is drawn for the whole radius and projected to its share. The network is attacked in eval
        mode and left in train mode: batch statistics of the attacked batch would make every example's attack depend
        on the others.
        """
        network.eval()
        norm, radius = self.threat.norm, share * self.threat.radius
        offset = start_offset(self.start, images, norm, self.threat.radius, Drawn(generator))
        start = project(images + offset, images, norm, radius)
        loss = objective.attack_loss(network, images)
        climb = Ascent(norm, radius, self.step_fraction * radius, self.steps)
        if replayed is not None and graphs_wanted(images):
            points = start
            for step in climb.along(lambda at: _gradient(replayed, at, lambda z: loss(z, labels)), images, start):
                points = step.points
        else:
            points = climb(lambda points: loss(network(points), labels), images, start)
        network.train()
        return points.detach()


def _gradient(replayed: Replayed, points: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the gradient [n, ...] at the points of a loss of the logits [n, K]: a sum."""
    logits, back = replayed.forward(points)
    return back(gradient_at(loss, logits))
