"""Slow, plain references for the flatness measures: float64, one example or one draw at a time, copies everywhere.

They share nothing with the package but the names of its random streams (so that both see the same noise) and the
random start of PGD. Used by tests/measures/flatness.
"""

import copy
import math
from functools import cache

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor, nn

from measurebench.attacks.starts import keyed_start
from measurebench.core.digests import seed_from
from measurebench.core.threat import Norm


def cross_entropy(net: nn.Module, image: Tensor, label: int) -> Tensor:
    z = net(image[None])[0]
    return torch.log(torch.exp(z - z.max()).sum()) + z.max() - z[label]


def mean_loss(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for image, label in zip(images, labels, strict=True):
        total = total + cross_entropy(net, image, int(label))
    return total / len(labels)


def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    n_right = 0
    for image, label in zip(images, labels, strict=True):
        n_right += int(net(image[None])[0].argmax()) == int(label)
    return n_right / len(labels)


def weight_gradient(net: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    twin = copy.deepcopy(net).requires_grad_(True)
    mean_loss(twin, images, labels).backward()
    return {name: p.grad.clone() for name, p in twin.named_parameters()}


def moved(net: nn.Module, steps: dict[str, Tensor]) -> nn.Module:
    twin = copy.deepcopy(net)
    for name, p in twin.named_parameters():
        if name in steps:
            p.data += steps[name]
    return twin


def splitmix64(counter: int) -> int:
    """SplitMix64's hash of a counter, in Python's whole numbers."""
    z = counter % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


@cache
def quantiles() -> "np.ndarray":
    """Normal quantiles in the middle of 65,536 equal shares, such that the sum of two has variance 1, float32."""
    found = ndtri((np.arange(65536) + 0.5) / 65536)
    return (found / np.sqrt(2 * (found**2).mean())).astype(np.float32)


def normal_numbers(n: int, *stream: object) -> list[float]:
    start, table, numbers = seed_from(*stream), quantiles(), []
    for index in range(-(-n // 2)):
        word = splitmix64(start + (index + 1) * 0x9E3779B97F4A7C15)
        parts = [table[word >> bits & 0xFFFF] for bits in (0, 16, 32, 48)]
        numbers += [float(parts[0] + parts[1]), float(parts[2] + parts[3])]
    return numbers[:n]


def normals(net: nn.Module, names: list[str], seed: int, stream: str, draw: int) -> dict[str, Tensor]:
    shapes = {name: p.shape for name, p in net.named_parameters()}
    flat = torch.tensor(normal_numbers(sum(shapes[n].numel() for n in names), seed, stream, draw), dtype=torch.float64)
    parts = torch.split(flat, [shapes[name].numel() for name in names])
    return {name: part.view(shapes[name]) for name, part in zip(names, parts, strict=True)}


def estimated_sharpness(
    net: nn.Module, images: Tensor, labels: Tensor, rho: float, sign: float, layerwise: bool
) -> float:
    gradient = weight_gradient(net, images, labels)
    weights = dict(net.named_parameters())
    if layerwise:
        convolved = [n for n, p in weights.items() if p.dim() > 1]
        steps = {n: rho * weights[n].norm() * gradient[n] / gradient[n].norm() for n in convolved}
    else:
        w = math.sqrt(sum(float((p**2).sum()) for p in weights.values()))
        g = math.sqrt(sum(float((p**2).sum()) for p in gradient.values()))
        steps = {n: rho * w * gradient[n] / g for n in weights}
    twin = moved(net, {n: sign * s for n, s in steps.items()})
    return sign * float(mean_loss(twin, images, labels) - mean_loss(net, images, labels))


def unnormalized_names(net: nn.Module) -> list[str]:
    inside = {
        f"{name}.{part}"
        for name, module in net.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for part in ("weight", "bias")
    }
    return [name for name, _ in net.named_parameters() if name not in inside]


def pgd(net: nn.Module, image: Tensor, label: int, key: Tensor, radius: float, seed: int) -> Tensor:
    x = keyed_start("uniform", image[None], key[None], Norm.LINF, radius, seed, "pgd")[0]
    for _ in range(10):
        x = x.detach().requires_grad_(True)
        cross_entropy(net, x, label).backward()
        x = x.detach() + radius / 4 * torch.sign(x.grad)
        x = torch.minimum(torch.maximum(x, image - radius), image + radius).clamp(0, 1)
    return x.detach()


def average_flat(
    net: nn.Module,
    images: Tensor,
    adversarial: Tensor,
    labels: Tensor,
    keys: Tensor,
    radius: float,
    xi: float,
    draws: int,
) -> float:
    names, weights = unnormalized_names(net), dict(net.named_parameters())
    total = 0.0
    for draw in range(draws):
        noise = normals(net, names, 0, "average_flat", draw)
        twin = moved(net, {n: xi * weights[n].norm() * noise[n] / noise[n].norm() for n in names})
        for image, label, key in zip(images, labels, keys, strict=True):
            x = pgd(twin, image, int(label), key, radius, 0)
            total += float(cross_entropy(twin, x, int(label)))
    return total / draws / len(labels) - float(mean_loss(net, adversarial, labels))


def ascend(
    net: nn.Module, images: Tensor, labels: Tensor, scale: dict[str, Tensor], norm: str, radius: float, steps: int
) -> float:
    """Largest rise of the mean loss: flat vectors, step 2 (1 - t/T) radius, momentum 3/4."""
    names = list(scale)
    s = torch.cat([scale[n].flatten() for n in names])
    sizes = [scale[n].numel() for n in names]
    u = previous = torch.zeros_like(s)

    def split(vector: Tensor) -> dict[str, Tensor]:
        return {n: part.reshape(scale[n].shape) for n, part in zip(names, vector.split(sizes), strict=True)}

    def inside(vector: Tensor) -> Tensor:
        if norm == "linf":
            return vector.clamp(-radius, radius)
        return vector * min(1.0, radius / max(float(vector.norm()), 1e-300))

    base = best = float(mean_loss(net, images, labels))
    for t in range(steps + 1):
        twin = moved(net, split(s * u))
        best = max(best, float(mean_loss(twin, images, labels)))
        gradient = weight_gradient(twin, images, labels)
        g = s * torch.cat([gradient[n].flatten() for n in names])
        direction = g.sign() if norm == "linf" else g / g.norm()
        z = inside(u + 2 * (1 - t / steps) * radius * direction)
        new = z if torch.equal(u, previous) else inside(u + 0.25 * (z - u) + 0.75 * (u - previous))
        previous, u = u, new
    return best - base


def dense_hessian(net: nn.Module, images: Tensor, labels: Tensor, names: list[str]) -> Tensor:
    """The Hessian of the mean loss, row by row, [P, P]."""
    twin = copy.deepcopy(net).requires_grad_(True)
    weights = [twin.get_parameter(name) for name in names]
    z = twin(images)
    loss = (torch.logsumexp(z, 1) - z[torch.arange(len(z)), labels]).mean()
    gradient = torch.autograd.grad(loss, weights, create_graph=True)
    flat = torch.cat([g.flatten() for g in gradient])
    rows = [torch.autograd.grad(entry, weights, retain_graph=True, materialize_grads=True) for entry in flat]
    return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])


def relative_flatness(net: nn.Module, images: Tensor, labels: Tensor, last: str) -> float:
    """sum over class pairs of <w_s, w_s'> Tr H_{s,s'}, from the dense Hessian of the last layer's weight."""
    weight = net.get_parameter(last)
    k, d = weight.shape
    blocks = dense_hessian(net, images, labels, [last]).reshape(k, d, k, d)
    total = 0.0
    for s in range(k):
        for t in range(k):
            total += float(weight[s] @ weight[t]) * float(blocks[s, :, t, :].trace())
    return total


class Shift(nn.Module):
    """Adds a learnable constant per channel."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias[:, None, None]


def folded(net: nn.Module, pairs: dict[str, str]) -> nn.Module:
    """A copy in which each batch norm, named with the convolution before it, has become one shift per channel."""
    twin = copy.deepcopy(net)
    for norm_name, conv_name in pairs.items():
        norm, conv = twin.get_submodule(norm_name), twin.get_submodule(conv_name)
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        conv.weight.data *= scale[:, None, None, None]
        parent, _, child = norm_name.rpartition(".")
        setattr(twin.get_submodule(parent), child, Shift((norm.bias - norm.running_mean * scale).detach()))
    return twin


def noisy_accuracy(
    net: nn.Module, images: Tensor, labels: Tensor, sigma: float, draws: int, floor: float | None
) -> float:
    """Mean accuracy over copies with noise sigma, or sqrt(sigma^2 w^2 + floor^2), on every parameter."""
    names = [name for name, _ in net.named_parameters()]
    weights = dict(net.named_parameters())
    total = 0.0
    for draw in range(draws):
        noise = normals(net, names, 0, "pacbayes", draw)
        std = {n: sigma if floor is None else torch.sqrt(sigma**2 * weights[n] ** 2 + floor**2) for n in names}
        total += accuracy(moved(net, {n: std[n] * noise[n] for n in names}), images, labels)
    return total / draws
