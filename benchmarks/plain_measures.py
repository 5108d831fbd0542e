# ruff: noqa: ARG001 (every measure is called with the same arguments)
"""The core measures as public codes compute them: one function each, which does all that it needs by itself.

Batches of 100, a fresh attack per measure, a copy of the network per random draw, one example at a time for boundary
thickness, the clean logits again at every step of the local Lipschitz ascent. Same settings and numbers of examples
as the package's defaults.
"""

import copy
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Reference = Callable[[nn.Module, nn.Module, Tensor, Tensor, float], float]
REFERENCES: dict[str, Reference] = {}


def reference(name: str) -> Callable[[Reference], Reference]:
    def add(function: Reference) -> Reference:
        REFERENCES[name] = function
        return function

    return add


def loader(images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(images.split(100), labels.split(100), strict=True)


def pgd(net: nn.Module, x: Tensor, y: Tensor, radius: float) -> Tensor:
    adv = (x + torch.empty_like(x).uniform_(-radius, radius)).clamp(0, 1)
    for _ in range(10):
        adv = adv.detach().requires_grad_(True)
        loss = F.cross_entropy(net(adv), y)
        loss.backward()
        adv = adv.detach() + radius / 4 * adv.grad.sign()
        adv = torch.min(torch.max(adv, x - radius), x + radius).clamp(0, 1)
    return adv.detach()


def weights_of(net: nn.Module) -> list[Tensor]:
    return [m.weight.detach() for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]


@reference("num_params")
def num_params(net, initial, images, labels, radius):
    return float(sum(p.numel() for p in net.parameters()))


@reference("path_norm")
def path_norm(net, initial, images, labels, radius):
    twin = copy.deepcopy(net).double()
    for m in twin.modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            m.weight.data = m.weight.data**2
            if m.bias is not None:
                m.bias.data = m.bias.data**2
        if isinstance(m, nn.BatchNorm2d):
            m.weight.data = m.weight.data**2 / (m.running_var + m.eps)
            m.running_mean.zero_()
            m.running_var.fill_(1)
    return twin(torch.ones_like(images[:1]).double()).sum().item()


@reference("log_prod_of_spec")
def log_prod_of_spec(net, initial, images, labels, radius):
    return sum(torch.linalg.svd(w.flatten(1).double())[1].max().square().log().item() for w in weights_of(net))


@reference("log_prod_of_fro")
def log_prod_of_fro(net, initial, images, labels, radius):
    return sum(w.norm().square().log().item() for w in weights_of(net))


@reference("euclid_init_norm")
def euclid_init_norm(net, initial, images, labels, radius):
    pairs = zip(weights_of(net), weights_of(initial), strict=True)
    return torch.sqrt(sum((w - v).square().sum() for w, v in pairs)).item()


def logits_at_attack(net, images, labels, radius):
    with_attack = []
    for x, y in loader(images, labels):
        adv = pgd(net, x, y, radius)
        with torch.no_grad():
            with_attack.append(net(adv))
    return torch.cat(with_attack)


@reference("average_ce_pgd")
def average_ce(net, initial, images, labels, radius):
    return F.cross_entropy(logits_at_attack(net, images, labels, radius), labels).item()


def margins(z: Tensor, labels: Tensor) -> Tensor:
    others = z.clone()
    others[torch.arange(len(z)), labels] = -torch.inf
    return z[torch.arange(len(z)), labels] - others.max(1).values


@reference("inverse_margin_pgd")
def inverse_margin(net, initial, images, labels, radius):
    m = margins(logits_at_attack(net, images, labels, radius), labels)
    return (1 / m.kthvalue(max(1, len(m) // 10)).values ** 2).item()


@reference("prob_margin_pgd")
def prob_margin(net, initial, images, labels, radius):
    return margins(logits_at_attack(net, images, labels, radius).softmax(1), labels).mean().item()


@reference("kl_divergence_pgd")
def kl_divergence(net, initial, images, labels, radius):
    total = 0.0
    for x, y in loader(images, labels):
        adv = pgd(net, x, y, radius)
        with torch.no_grad():
            total += F.kl_div(net(adv).log_softmax(1), net(x).softmax(1), reduction="sum").item()
    return total / len(labels)


@reference("boundary_thickness")
def boundary_thickness(net, initial, images, labels, radius):
    total = 0.0
    for x, y in zip(images, labels, strict=True):
        x = x[None]
        with torch.no_grad():
            k = net(x).shape[1]
            i = net(x).argmax(1).item()
        t = (y.item() + 1 + torch.randint(0, k - 1, ()).item()) % k
        r = x.clone()
        for _ in range(20):
            r = r.detach().requires_grad_(True)
            F.cross_entropy(net(r), torch.tensor([t])).backward()
            r = r.detach() - 0.2 * r.grad / r.grad.norm().clamp_min(1e-12)
            step = r - x
            r = (x + step * (1.0 / step.norm()).clamp_max(1.0)).clamp(0, 1)
        inside = 0
        for s in torch.linspace(0, 1, 128).split(32):
            with torch.no_grad():
                p = net(x + s.view(-1, *[1] * (x.dim() - 1)) * (r - x)).softmax(1)
            gap = p[:, i] - p[:, t]
            inside += ((gap > 0) & (gap < 0.75)).sum().item()
        total += (r - x).norm().item() * inside / 128
    return total / len(labels)


@reference("local_lip")
def local_lip(net, initial, images, labels, radius):
    total = 0.0
    for x, _ in loader(images, labels):
        adv = x + 0.001 * torch.randn_like(x)
        for _ in range(10):
            adv = adv.detach().requires_grad_(True)
            change = (net(adv) - net(x)).abs().sum(1)
            ratio = change / (adv - x + 1e-6).flatten(1).abs().max(1).values
            ratio.mean().backward()
            adv = adv.detach() + radius / 3 * adv.grad.sign()
            adv = torch.min(torch.max(adv, x - radius), x + radius).clamp(0, 1)
        with torch.no_grad():
            change = (net(adv) - net(x)).abs().sum(1)
            total += (change / (adv - x).flatten(1).abs().max(1).values.clamp_min(1e-12)).sum().item()
    return total / len(labels)


def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return sum((net(x).argmax(1) == y).sum().item() for x, y in loader(images, labels)) / len(labels)


def noise_level(net, images, labels, radius, magnitude):
    """Bisection in [0, 2]: at most 15 steps of 10 noisy copies, until the accuracy lost is 0.1 within 0.01."""
    adv = torch.cat([pgd(net, x, y, radius) for x, y in loader(images, labels)])
    start = accuracy(net, adv, labels)
    low, high = 0.0, 2.0
    sigma = 1.0
    for _ in range(15):
        sigma = (low + high) / 2
        found = []
        for _ in range(10):
            noisy = copy.deepcopy(net)
            for p in noisy.parameters():
                std = torch.sqrt(sigma**2 * p.data**2 + 1e-6) if magnitude else sigma
                p.data += std * torch.randn_like(p)
            found.append(accuracy(noisy, adv, labels))
        lost = abs(start - sum(found) / 10)
        if abs(lost - 0.1) < 0.01:
            break
        low, high = (low, sigma) if lost > 0.1 else (sigma, high)
    return 1 / sigma**2


@reference("pacbayes_flat_pgd")
def pacbayes_flat(net, initial, images, labels, radius):
    return noise_level(net, images, labels, radius, magnitude=False)


@reference("pacbayes_mag_flat_pgd")
def pacbayes_mag_flat(net, initial, images, labels, radius):
    return noise_level(net, images, labels, radius, magnitude=True)


def attacked_gradient(net, images, labels, radius):
    adv = torch.cat([pgd(net, x, y, radius) for x, y in loader(images, labels)])
    net = copy.deepcopy(net).requires_grad_(True)
    for x, y in loader(adv, labels):
        (F.cross_entropy(net(x), y, reduction="sum") / len(labels)).backward()
    return adv, net


def sharpness(net, images, labels, radius, sign):
    adv, twin = attacked_gradient(net, images, labels, radius)
    with torch.no_grad():
        before = sum(F.cross_entropy(net(x), y, reduction="sum").item() for x, y in loader(adv, labels))
        w = torch.sqrt(sum(p.square().sum() for p in twin.parameters()))
        g = torch.sqrt(sum(p.grad.square().sum() for p in twin.parameters()))
        for p in twin.parameters():
            p += sign * 5e-3 * w * p.grad / g
        after = sum(F.cross_entropy(twin(x), y, reduction="sum").item() for x, y in loader(adv, labels))
    return sign * (after - before) / len(labels)


@reference("estimated_sharpness_pgd")
def estimated_sharpness(net, initial, images, labels, radius):
    return sharpness(net, images, labels, radius, 1)


@reference("estimated_inv_sharpness_pgd")
def estimated_inv_sharpness(net, initial, images, labels, radius):
    return sharpness(net, images, labels, radius, -1)


@reference("average_flat_pgd")
def average_flat(net, initial, images, labels, radius):
    images, labels = images[:128], labels[:128]
    total = 0.0
    for _ in range(10):
        noisy = copy.deepcopy(net)
        for m in noisy.modules():
            if isinstance(m, (nn.Conv2d, nn.Linear)):
                for p in m.parameters():
                    v = torch.randn_like(p)
                    p.data += 0.5 * p.norm() * v / v.norm()
        for model, sign in ((noisy, 1), (net, -1)):
            for x, y in loader(images, labels):
                adv = pgd(model, x, y, radius)
                with torch.no_grad():
                    total += sign * F.cross_entropy(model(adv), y, reduction="sum").item()
    return total / 10 / len(labels)


@reference("x_grad_norm_pgd")
def x_grad_norm(net, initial, images, labels, radius):
    total = 0.0
    for x, y in loader(images, labels):
        adv = pgd(net, x, y, radius).requires_grad_(True)
        F.cross_entropy(net(adv), y, reduction="sum").backward()
        total += adv.grad.flatten(1).norm(dim=1).sum().item()
    return total / len(labels)


@reference("w_grad_norm_pgd")
def w_grad_norm(net, initial, images, labels, radius):
    _, twin = attacked_gradient(net, images, labels, radius)
    return torch.sqrt(sum(p.grad.square().sum() for p in twin.parameters())).item()


def w_grad_norm_with_error(net, initial, images, labels, radius):
    """Return the norm of the mean gradient and its standard error: images one at a time, along the mean gradient."""
    adv, twin = attacked_gradient(net, images, labels, radius)
    mean = [p.grad.clone() for p in twin.parameters()]
    norm = torch.sqrt(sum(g.square().sum() for g in mean))
    shares = []
    for x, y in zip(adv.split(1), labels.split(1), strict=True):
        twin.zero_grad()
        F.cross_entropy(twin(x), y).backward()
        shares.append(sum((p.grad * g).sum() for p, g in zip(twin.parameters(), mean, strict=True)) / norm)
    return norm.item(), (torch.stack(shares).std() / len(shares) ** 0.5).item()
