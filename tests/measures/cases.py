"""Networks and examples that tests of several families of measures share."""

import torch
from torch import Tensor, nn

from measurebench.core.info import Examples
from measurebench.core.threat import ThreatModel
from measurebench.measures.context import MeasureContext, MeasureSettings
from tests.measures.strided import strided, with_statistics

KINDS = ("convolutional", "residual", "preactivation", "wide")
THREAT = ThreatModel.parse("Linf", "1/16")


def network(kind: str, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
    """Return a network of 10 classes on 1x8x8 images, with batch norm statistics that are not the initial ones."""
    torch.manual_seed(seed)
    builders = {
        "convolutional": lambda: strided("convolutional", 3),
        "residual": lambda: strided("residual", 3),
        "preactivation": lambda: strided("preactivation", 3),
        "wide": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10)),
    }
    return with_statistics(builders[kind]()).to(dtype).eval().requires_grad_(False)


def examples(net: nn.Module, n: int = 24, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Return random images [n, 1, 8, 8], labelled by the network itself but for every fourth."""
    dtype = next(net.parameters()).dtype
    images = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed)).to(dtype)
    labels = net(images).argmax(1)
    labels[::4] = (labels[::4] + 1) % 10
    return images, labels


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
