"""Ascents on images as plain loops, one for each place that climbs: what the package must equal bit for bit.

Nothing here imports the code under test but its keyed random numbers. The loops fix the order of the operations, so
that equality is exact on any processor, in one process.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from measurebench.attacks import noise

Loss = Callable[[Tensor], Tensor]


def network(seed: int = 0, classes: int = 5) -> nn.Module:
    """Return a small convolutional network for images [n, 1, 6, 6], float32, with gradients on its weights."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(54, classes),
    ).eval()


def examples(net: nn.Module, n: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Return images, labels (every fourth one wrong) and keys; some pixels lie on the edge of the box."""
    images = (1.2 * torch.rand(n, 1, 6, 6, generator=torch.Generator().manual_seed(1)) - 0.1).clamp(0, 1)
    labels = net(images).argmax(1)
    labels[::4] = (labels[::4] + 1) % 5
    return images, labels, torch.arange(100, 100 + n)


def wide(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.dim() - 1))


def clipped(points: Tensor, images: Tensor, norm: str, radius: float) -> Tensor:
    difference = points - images
    if norm == "Linf":
        return (images + difference.clamp(-radius, radius)).clamp(0, 1)
    lengths = difference.flatten(1).norm(dim=1)
    shrink = (radius / lengths.clamp_min(1e-12)).clamp_max(1.0)
    return (images + difference * wide(shrink, images)).clamp(0, 1)


def direction(gradient: Tensor, norm: str) -> Tensor:
    if norm == "Linf":
        return gradient.sign()
    return gradient / wide(gradient.flatten(1).norm(dim=1).clamp_min(1e-12), gradient)


def slope(loss: Loss, points: Tensor) -> Tensor:
    leaf = points.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    return gradient


def uniform_start(images: Tensor, keys: Tensor, norm: str, radius: float, *stream: object) -> Tensor:
    shape = images.shape[1:]
    if norm == "Linf":
        return (images + (2 * noise.uniform(keys, shape, *stream, "box") - 1) * radius).clamp(0, 1)
    way = direction(noise.normal(keys, shape, *stream, "direction"), "L2")
    lengths = radius * noise.uniform(keys, (1,), *stream, "length")[:, 0] ** (1.0 / images[0].numel())
    return (images + way * wide(lengths, images)).clamp(0, 1)


def gaussian_start(images: Tensor, keys: Tensor, norm: str, radius: float, *stream: object) -> Tensor:
    drawn = noise.normal(keys, images.shape[1:], *stream)
    return clipped(images + 0.001 * drawn, images, norm, radius)


def climb(
    loss: Loss, images: Tensor, start: Tensor, norm: str, radius: float, step: float, steps: int, sign: float = 1.0
) -> Tensor:
    points = start
    for _ in range(steps):
        points = clipped(points + sign * step * direction(slope(loss, points), norm), images, norm, radius)
    return points.detach()


def cross_entropy(net: nn.Module, labels: Tensor) -> Loss:
    return lambda x: F.cross_entropy(net(x), labels, reduction="sum")


def pgd(
    net: nn.Module, images: Tensor, labels: Tensor, keys: Tensor, norm: str, radius: float, seed: int, steps: int = 10
) -> Tensor:
    start = uniform_start(images, keys, norm, radius, seed, "pgd")
    return climb(cross_entropy(net, labels), images, start, norm, radius, 0.25 * radius, steps)


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    own = logits.gather(1, labels[:, None])[:, 0]
    return own - logits.scatter(1, labels[:, None], -torch.inf).amax(1)


def turned_within(net: nn.Module, images: Tensor, labels: Tensor, radius: Tensor, norm: str) -> Tensor:
    """Ten steps on minus the margin, each example in a ball of its own; whether any step turned it."""
    radius = wide(radius.to(images), images)
    points, turned = images, torch.zeros(len(images), dtype=torch.bool)
    for _ in range(10):
        points = points + 0.25 * radius * direction(slope(lambda x: -margin(net(x), labels).sum(), points), norm)
        difference = points - images
        if norm == "Linf":
            points = (images + difference.clamp(-radius, radius)).clamp(0, 1)
        else:
            lengths = difference.flatten(1).norm(dim=1).reshape(radius.shape).clamp_min(1e-12)
            points = (images + difference * (radius / lengths).clamp_max(1)).clamp(0, 1)
        with torch.no_grad():
            turned |= net(points).argmax(1) != labels
    return turned


def input_margins(net: nn.Module, images: Tensor, labels: Tensor, norm: str, largest: float, halvings: int) -> Tensor:
    high = torch.full((len(images),), largest, dtype=torch.float64)
    low, ever = torch.zeros_like(high), turned_within(net, images, labels, high, norm)
    for _ in range(halvings):
        middle = (low + high) / 2
        down = turned_within(net, images, labels, middle, norm)
        low, high = torch.where(down, low, middle), torch.where(down, middle, high)
    return torch.where(ever, high, torch.inf)


def training_start(
    images: Tensor, start: str, norm: str, radius: float, share: float, generator: torch.Generator
) -> Tensor:
    if start == "none":
        offset = torch.zeros_like(images)
    elif start == "gaussian":
        offset = 0.001 * torch.randn(images.shape, generator=generator)
    elif norm == "Linf":
        offset = (2 * torch.rand(images.shape, generator=generator) - 1) * radius
    else:
        way = direction(torch.randn(images.shape, generator=generator), "L2")
        fraction = torch.rand(len(images), generator=generator) ** (1.0 / images[0].numel())
        offset = way * wide(radius * fraction, images)
    return clipped(images + offset, images, norm, share * radius)


def images_beside_weights(
    net: nn.Module, images: Tensor, points: Tensor, labels: Tensor, norm: str, radius: float, steps: int
) -> Iterator[Tensor]:
    """Images that climb at weights that stay where they are, the first of them where they begin."""
    yield points
    for _ in range(steps):
        step = 0.25 * radius * direction(slope(cross_entropy(net, labels), points), norm)
        points = clipped(points + step, images, norm, radius)
        yield points
