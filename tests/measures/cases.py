"""Networks and examples that tests of several families of measures share."""

import torch
from torch import Tensor, nn

from measurebench.core.info import Examples
from measurebench.core.threat import ThreatModel
from measurebench.measures.context import MeasureContext, MeasureSettings
from measurebench.testing.small_networks import KINDS, network
from measurebench.testing.small_networks import small_examples as examples
from measurebench.testing.workbench import THREAT

__all__ = ["KINDS", "THREAT", "context", "examples", "linear_fixture", "network", "two_class_linear"]


def context(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    adversarial: Tensor | None = None,
    initial: nn.Module | None = None,
    batch_size: int = 256,
    gradients: tuple[Examples, ...] = (),
    threat: ThreatModel = THREAT,
) -> MeasureContext:
    """Return a context of these examples."""
    settings = MeasureSettings(threat, gradients=frozenset(gradients))
    return MeasureContext(
        net, images, labels, settings, adversarial=adversarial, initial_network=initial, batch_size=batch_size
    )


def linear_fixture() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """Return a linear softmax network, images [5, 4], labels and FGSM examples (8/255), known to twelve digits."""
    i, j, k = (torch.arange(m, dtype=torch.float64) for m in (5, 4, 3))
    net = nn.Linear(4, 3).double()
    net.weight.data = 2 * torch.cos(0.9 * k[:, None] + 1.1 * j)
    net.bias.data = torch.tensor([0.1, -0.2, 0.05], dtype=torch.float64)
    images = 0.5 + 0.5 * torch.sin(1.3 * i[:, None] + 0.7 * j)
    labels = torch.tensor([0, 1, 2, 0, 1])
    points = images.clone().requires_grad_(True)
    nn.functional.cross_entropy(net(points), labels, reduction="sum").backward()
    attacked = (images + 8 / 255 * points.grad.sign()).clamp(0, 1)
    return net.eval().requires_grad_(False), images, labels, attacked


def two_class_linear(weight: Tensor) -> nn.Module:
    """Return a network on flat images with logits -w.x/2 and w.x/2, float64, shifted so that x = 1/2 is undecided."""
    net = nn.Linear(len(weight), 2).double()
    net.weight.data = torch.stack([-weight / 2, weight / 2])
    net.bias.data = torch.stack([weight.sum() / 4, -weight.sum() / 4])
    return net.eval().requires_grad_(False)
