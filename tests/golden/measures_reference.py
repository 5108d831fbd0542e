"""Slow, plain references of the measures: float64, one example, one layer or one pair at a time.

Nothing of the package's own computation is used: only the random starts and targets, which are part of a
measure's definition, come from ``measurebench.attacks``. ``reference(name, case)`` gives the value of a measure.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from measurebench.attacks import noise
from measurebench.attacks.starts import keyed_start
from measurebench.core.threat import ThreatModel
from tests.golden.features_reference import OF_FEATURES, gradient_noise, jacobian_norm


@dataclass(frozen=True)
class Case:
    """A network with its examples; ``attacked`` stand for PGD's, ``start`` is the network at initialisation."""

    net: nn.Module
    images: Tensor
    labels: Tensor
    attacked: Tensor
    keys: Tensor
    threat: ThreatModel
    start: nn.Module

    def at(self, pgd: bool) -> Tensor:
        return self.attacked if pgd else self.images


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def logits(case: Case, image: Tensor) -> list[float]:
    with torch.no_grad():
        return [float(z) for z in case.net(image[None])[0]]


def softmax(z: list[float]) -> list[float]:
    top = max(z)
    total = math.fsum(math.exp(v - top) for v in z)
    return [math.exp(v - top) / total for v in z]


def loss_of(z: Tensor, label: int) -> Tensor:
    return torch.log(torch.exp(z - z.detach().max()).sum()) + z.detach().max() - z[label]


def input_gradient(case: Case, image: Tensor, label: int) -> Tensor:
    leaf = image.clone().requires_grad_(True)
    return torch.autograd.grad(loss_of(case.net(leaf[None])[0], label), leaf)[0]


def weight_gradients(case: Case, image: Tensor, label: int) -> dict[str, Tensor]:
    names = [name for name, _ in case.net.named_parameters()]
    parameters = [p for _, p in case.net.named_parameters()]
    for p in parameters:
        p.requires_grad_(True)
    gradients = torch.autograd.grad(loss_of(case.net(image[None])[0], label), parameters)
    for p in parameters:
        p.requires_grad_(False)
    return dict(zip(names, gradients, strict=True))


def over_examples(function: Callable[[Case, Tensor, int], float]) -> Callable[[Case, bool], float]:
    def value(case: Case, pgd: bool) -> float:
        pairs = zip(case.at(pgd), case.labels.tolist(), strict=True)
        return mean([function(case, image, label) for image, label in pairs])

    return value


def margin(z: list[float], label: int) -> float:
    return z[label] - max(v for k, v in enumerate(z) if k != label)


def all_margins(case: Case, pgd: bool) -> list[float]:
    return [margin(logits(case, x), y) for x, y in zip(case.at(pgd), case.labels.tolist(), strict=True)]


def percentile(case: Case, pgd: bool, percent: int) -> float:
    ordered = sorted(all_margins(case, pgd))
    return ordered[max(1, percent * len(ordered) // 100) - 1]


def normalised_margin(case: Case, image: Tensor, label: int) -> float:
    z = logits(case, image)
    centre = mean(z)
    return margin(z, label) / math.sqrt(math.fsum((v - centre) ** 2 for v in z))


def entropy(case: Case, image: Tensor, label: int) -> float:
    return -math.fsum(p * math.log(p) for p in softmax(logits(case, image)))


def calibration_error(case: Case, pgd: bool) -> float:
    gaps = [0.0] * 15
    for x, y in zip(case.at(pgd), case.labels.tolist(), strict=True):
        p = softmax(logits(case, x))
        right = 1.0 if p.index(max(p)) == y else 0.0
        gaps[min(14, math.ceil(max(p) * 15) - 1)] += max(p) - right
    return math.fsum(abs(gap) for gap in gaps) / len(case.labels)


def divergence(case: Case, pgd: bool) -> float:
    values = []
    for x, a in zip(case.images, case.attacked, strict=True):
        p, q = softmax(logits(case, x)), softmax(logits(case, a))
        values.append(math.fsum(u * (math.log(u) - math.log(v)) for u, v in zip(p, q, strict=True)))
    return mean(values)


def clip(points: Tensor, image: Tensor, radius: float) -> Tensor:
    return torch.minimum(torch.maximum(points, image - radius), image + radius).clamp(0, 1)


def first_point(case: Case, i: int, name: str) -> Tensor:
    return keyed_start(
        "uniform", case.images[i : i + 1], case.keys[i : i + 1], case.threat.norm, case.threat.radius, 0, name
    )[0]


def climb(case: Case, i: int, name: str, fraction: float, objective: Callable[[Tensor], Tensor]) -> Tensor:
    radius, point = case.threat.radius, first_point(case, i, name)
    for _ in range(10):
        leaf = point.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(objective(leaf), leaf)
        point = clip(point + fraction * radius * gradient.sign(), case.images[i], radius)
    return point


def ratio(case: Case, image: Tensor, point: Tensor) -> Tensor:
    with torch.no_grad():
        before = case.net(image[None])[0]
    return (case.net(point[None])[0] - before).abs().sum() / (point - image).abs().max()


def local_lip(case: Case, pgd: bool) -> float:
    values = []
    for i, image in enumerate(case.images):

        def objective(x: Tensor, image: Tensor = image) -> Tensor:
            return ratio(case, image, x)

        point = case.attacked[i] if pgd else climb(case, i, "local_lip", 1 / 3, objective)
        values.append(float(ratio(case, image, point).detach()))
    return mean(values)


def linearity_error(case: Case, pgd: bool) -> float:
    values = []
    for i, (image, label) in enumerate(zip(case.images, case.labels.tolist(), strict=True)):
        slope = input_gradient(case, image, label)
        base = loss_of(case.net(image[None])[0], label)

        def error(
            x: Tensor, image: Tensor = image, label: int = label, slope: Tensor = slope, base: Tensor = base
        ) -> Tensor:
            return (loss_of(case.net(x[None])[0], label) - base - ((x - image) * slope).sum()).abs()

        values.append(float(error(climb(case, i, "llr", 0.25, error)).detach()))
    return mean(values)


def cure(case: Case, image: Tensor, label: int) -> float:
    before = input_gradient(case, image, label)
    z = before.sign()
    after = input_gradient(case, image + 1.5 * z / z.square().sum().sqrt(), label)
    return float((after - before).square().sum().sqrt())


def boundary_thickness(case: Case, pgd: bool) -> float:
    values = []
    for i, (image, label) in enumerate(zip(case.images, case.labels.tolist(), strict=True)):
        z = logits(case, image)
        predicted = z.index(max(z))
        draw = int(noise.integers(case.keys[i : i + 1], len(z) - 1, 0, "thickness target"))
        target = [k for k in range(len(z)) if k != label][draw]
        if predicted == target:
            values.append(0.0)
            continue
        end = image.clone()
        for _ in range(20):
            gradient = input_gradient(case, end, target)
            moved = end - 0.2 * gradient / gradient.square().sum().sqrt() - image
            length = float(moved.square().sum().sqrt())
            end = (image + moved * min(1.0, 1.0 / length)).clamp(0, 1)
        inside = 0
        for step in range(128):
            p = softmax(logits(case, image + (end - image) * (step / 127)))
            inside += 0 < p[predicted] - p[target] < 0.75
        values.append(inside / 128 * float((end - image).square().sum().sqrt()))
    return mean(values)


def gradient_norm(case: Case, pgd: bool, layers_only: bool = False) -> float:
    totals: dict[str, Tensor] = {}
    for x, y in zip(case.at(pgd), case.labels.tolist(), strict=True):
        for name, gradient in weight_gradients(case, x, y).items():
            totals[name] = totals.get(name, 0) + gradient / len(case.labels)
    chosen = [g for name, g in totals.items() if not layers_only or name in layer_names(case.net)]
    return math.sqrt(math.fsum(float(g.square().sum()) for g in chosen))


def example_gradient_norm(case: Case, image: Tensor, label: int) -> float:
    return math.sqrt(math.fsum(float(g.square().sum()) for g in weight_gradients(case, image, label).values()))


def fisher_rao(case: Case, pgd: bool) -> float:
    weights = dict(case.net.named_parameters())
    squares = []
    for x, y in zip(case.at(pgd), case.labels.tolist(), strict=True):
        gradients = weight_gradients(case, x, y)
        squares.append(math.fsum(float((weights[n] * gradients[n]).sum()) for n in layer_names(case.net)) ** 2)
    return math.sqrt(mean(squares))


def layer_names(net: nn.Module) -> list[str]:
    return [f"{name}.weight" for name, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def matrices(net: nn.Module) -> list[Tensor]:
    weights = dict(net.named_parameters())
    return [weights[name].double().reshape(len(weights[name]), -1) for name in layer_names(net)]


def frobenius(matrix: Tensor) -> float:
    return math.fsum(float(v) ** 2 for v in matrix.flatten())


def spectral(matrix: Tensor) -> float:
    return float(torch.linalg.svdvals(matrix)[0]) ** 2


def log_product(norm: Callable[[Tensor], float], found: list[Tensor]) -> float:
    return math.fsum(math.log(norm(m)) for m in found)


def log_sum(norm: Callable[[Tensor], float], found: list[Tensor]) -> float:
    return math.log(len(found)) + log_product(norm, found) / len(found)


def differences(case: Case) -> list[Tensor]:
    return [a - b for a, b in zip(matrices(case.net), matrices(case.start), strict=True)]


def parameter_count(case: Case, pgd: bool) -> float:
    return float(sum(p.numel() for p in case.net.parameters()))


def input_margin(case: Case, image: Tensor, label: int) -> float:
    """The radius found by bisection from four radii, eight halvings, ten sign steps on the margin."""

    def turns(radius: float) -> bool:
        point = image
        for _ in range(10):
            leaf = point.clone().requires_grad_(True)
            z = case.net(leaf[None])[0]
            others = torch.cat([z[:label], z[label + 1 :]])
            (gradient,) = torch.autograd.grad(others.max() - z[label], leaf)
            point = clip(point + 0.25 * radius * gradient.sign(), image, radius)
            found = logits(case, point)
            if found.index(max(found)) != label:
                return True
        return False

    low, high = 0.0, 4 * case.threat.radius
    if not turns(high):
        return math.inf
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (low, middle) if turns(middle) else (middle, high)
    return high


def margin_consistency(case: Case, pgd: bool) -> float:
    pairs = []
    for x, y in zip(case.images, case.labels.tolist(), strict=True):
        found = margin(logits(case, x), y)
        if found > 0:
            pairs.append((found, input_margin(case, x, y)))
    agree, tied_a, tied_b, count = 0, 0, 0, 0
    for i, (a, b) in enumerate(pairs):
        for c, d in pairs[:i]:
            count += 1
            agree += (a > c) - (a < c) if b > d else ((a < c) - (a > c) if b < d else 0)
            tied_a, tied_b = tied_a + (a == c), tied_b + (b == d)
    return agree / math.sqrt((count - tied_a) * (count - tied_b))


def accuracy(case: Case, image: Tensor, label: int) -> float:
    z = logits(case, image)
    return float(z.index(max(z)) == label)


def robust_accuracy(case: Case, pgd: bool) -> float:
    pairs = zip(case.images, case.attacked, case.labels.tolist(), strict=True)
    return mean([accuracy(case, x, y) * accuracy(case, a, y) for x, a, y in pairs])


BY_EXAMPLE = {
    "average_ce": lambda c, x, y: -math.log(softmax(logits(c, x))[y]),
    "logit_margin": lambda c, x, y: margin(logits(c, x), y),
    "prob_margin": lambda c, x, y: margin(softmax(logits(c, x)), y),
    "norm_logit_margin": normalised_margin,
    "entropy": entropy,
    "mean_confidence": lambda c, x, _: max(softmax(logits(c, x))),
    "x_grad_norm": lambda c, x, y: float(input_gradient(c, x, y).square().sum().sqrt()),
    "x_grad_norm_l1": lambda c, x, y: float(input_gradient(c, x, y).abs().sum()),
    "w_grad_norm_per_example": example_gradient_norm,
    "cure": cure,
    "jacobian_norm": jacobian_norm,
    "clean_accuracy": accuracy,
}


def noise_accuracy(case: Case, _pgd: bool) -> float:
    values = []
    for i, (image, label) in enumerate(zip(case.images, case.labels.tolist(), strict=True)):
        for draw in range(100):
            stream = (0, "probabilistic robustness", draw)
            key = case.keys[i : i + 1]
            point = keyed_start("uniform", image[None], key, case.threat.norm, case.threat.radius, *stream)[0]
            values.append(accuracy(case, point, label))
    return mean(values)


OF_CASE: dict[str, Callable[[Case, bool], float]] = {
    **{name: over_examples(function) for name, function in BY_EXAMPLE.items()},
    **{f"margin_p{p}": lambda c, pgd, p=p: percentile(c, pgd, p) for p in (10, 25, 50, 75, 90)},
    "margin_min": lambda c, pgd: min(all_margins(c, pgd)),
    "margin_max": lambda c, pgd: max(all_margins(c, pgd)),
    "inverse_margin": lambda c, pgd: percentile(c, pgd, 10) ** -2,
    "ece": calibration_error,
    "x_grad_norm_rms": lambda c, pgd: math.sqrt(
        over_examples(lambda c, x, y: float(input_gradient(c, x, y).square().sum()))(c, pgd)
    ),
    "w_grad_norm": gradient_norm,
    "w_grad_norm_weights": lambda c, pgd: gradient_norm(c, pgd, layers_only=True),
    "gradient_noise": lambda c, pgd: gradient_noise(
        [weight_gradients(c, x, y) for x, y in zip(c.at(pgd), c.labels.tolist(), strict=True)]
    ),
    **OF_FEATURES,
    "fisher_rao": fisher_rao,
    "local_lip": local_lip,
    "llr_gamma": linearity_error,
    "boundary_thickness": boundary_thickness,
    "probabilistic_robustness": noise_accuracy,
    "margin_consistency": margin_consistency,
    "num_params": parameter_count,
    "euclid_norm": lambda c, _: math.sqrt(sum(map(frobenius, matrices(c.net)))),
    "param_norm": lambda c, _: sum(map(frobenius, matrices(c.net))),
    "euclid_init_norm": lambda c, _: math.sqrt(sum(map(frobenius, differences(c)))),
    "fro_dist": lambda c, _: sum(map(frobenius, differences(c))),
    "dist_spec_init": lambda c, _: sum(map(spectral, differences(c))),
    "log_prod_of_fro": lambda c, _: log_product(frobenius, matrices(c.net)),
    "log_sum_of_fro": lambda c, _: log_sum(frobenius, matrices(c.net)),
    "log_prod_of_spec": lambda c, _: log_product(spectral, matrices(c.net)),
    "log_sum_of_spec": lambda c, _: log_sum(spectral, matrices(c.net)),
    "fro_over_spec": lambda c, _: sum(frobenius(m) / spectral(m) for m in matrices(c.net)),
}
ADVERSARIAL_ONLY = {
    "kl_divergence_pgd": divergence,
    "train_robust_acc": robust_accuracy,
    "pgd_accuracy": robust_accuracy,
}


def over_margin(name: str, case: Case, pgd: bool) -> float:
    return OF_CASE[name](case, False) - 2 * math.log(abs(percentile(case, pgd, 10)))


def main_term(case: Case, pgd: bool, from_start: bool) -> float:
    ways = differences(case) if from_start else matrices(case.net)
    total = sum(frobenius(way) / spectral(m) for way, m in zip(ways, matrices(case.net), strict=True))
    return over_margin("log_prod_of_spec", case, pgd) + math.log(total)


def reference(name: str, case: Case) -> float | None:
    """Return a measure's value by its plain definition; None where this file has no reference for it."""
    if name in ADVERSARIAL_ONLY:
        return ADVERSARIAL_ONLY[name](case, True)
    plain, pgd = name.removesuffix("_pgd"), name.endswith("_pgd")
    if plain.endswith("_over_margin") and plain.removesuffix("_over_margin") in OF_CASE:
        return over_margin(plain.removesuffix("_over_margin"), case, pgd)
    if plain in ("log_spec_init_main", "log_spec_orig_main"):
        return main_term(case, pgd, "init" in plain)
    return OF_CASE[plain](case, pgd) if plain in OF_CASE else None
