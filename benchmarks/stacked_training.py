"""Is it faster to train many small networks at once? Writes results/stacked_training.md.

Run as ``python -m benchmarks.stacked_training``. One adversarial update of K digits networks, two ways: one by one, as
the trainer does; and with the weights of the K networks stacked and torch.func.vmap over them. Both compute the same
update (checked).
"""

import copy
import itertools
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from benchmarks.machine import processor
from measurebench.datasets import load_dataset
from measurebench.models.architectures import built_in

RADIUS, STEPS, RATE = 0.15, 10, 0.1
RESULT = Path(__file__).parent / "results" / "stacked_training.md"
RESULT = Path(__file__).parent / "results" / "stacked_training.md"


def one_by_one(networks: list[nn.Module], images: Tensor, labels: Tensor) -> None:
    """Ten PGD steps and one step of gradient descent for each network in turn."""
    for network in networks:
        network.eval()
        points = images
        for _ in range(STEPS):
            points = points.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(F.cross_entropy(network(points), labels, reduction="sum"), points)
            points = moved(points, gradient, images)
        network.train()
        gradients = torch.autograd.grad(F.cross_entropy(network(points.detach()), labels), list(network.parameters()))
        with torch.no_grad():
            for parameter, slope in zip(network.parameters(), gradients, strict=True):
                parameter.sub_(RATE * slope)


def moved(points: Tensor, gradient: Tensor, images: Tensor) -> Tensor:
    """One projected step."""
    points = points.detach() + 0.25 * RADIUS * gradient.sign()
    return (images + (points - images).clamp(-RADIUS, RADIUS)).clamp(0, 1)


def stacked(networks: list[nn.Module]) -> tuple[Callable[[Tensor, Tensor], None], dict[str, Tensor]]:
    """Return the same update for all networks at once, and their stacked parameters."""
    parameters, buffers = stack_module_state(networks)
    parameters = {name: tensor.detach().clone() for name, tensor in parameters.items()}
    base = copy.deepcopy(networks[0]).to("meta")

    def loss(weights: dict[str, Tensor], state: dict[str, Tensor], x: Tensor, y: Tensor, reduction: str) -> Tensor:
        return F.cross_entropy(functional_call(base, (weights, state), (x,)), y, reduction=reduction)

    attack = vmap(grad(lambda w, b, x, y: loss(w, b, x, y, "sum"), argnums=2), in_dims=(0, 0, 0, None))
    train = vmap(grad(lambda w, b, x, y: loss(w, b, x, y, "mean")), in_dims=(0, 0, 0, None))

    def update(images: Tensor, labels: Tensor) -> None:
        points = centres = images.expand(len(networks), *images.shape)
        base.eval()
        for _ in range(STEPS):
            points = moved(points, attack(parameters, buffers, points, labels), centres)
        base.train()
        for name, slope in train(parameters, buffers, points, labels).items():
            parameters[name].sub_(RATE * slope)

    return update, parameters


def seconds(update: Callable[[], None], repeats: int) -> float:
    """CPU seconds per call, after two calls to warm up; the best of three."""
    update()
    update()
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        for _ in range(repeats):
            update()
        best = min(best, (time.process_time() - started) / repeats)
    return best


def compare(name: str, n_networks: int, images: Tensor, labels: Tensor) -> str:
    """Check that both ways agree, and return how long each takes per network."""
    networks = [built_in()[name].build(n_classes=10, in_channels=1) for _ in range(n_networks)]
    update, parameters = stacked(copy.deepcopy(networks))
    check = copy.deepcopy(networks)
    one_by_one(check, images, labels)
    update(images, labels)
    for i, network in enumerate(check):
        for key, parameter in network.named_parameters():
            torch.testing.assert_close(parameters[key][i], parameter.detach(), atol=2e-4, rtol=1e-2)
    each = seconds(lambda: one_by_one(networks, images, labels), 2) / n_networks * 1e3
    together = seconds(lambda: update(images, labels), 2) / n_networks * 1e3
    return f"| {name} | {n_networks} | {len(images)} | {each:.1f} | {together:.1f} | {each / together:.2f}x |"


def main() -> None:
    """Compare all cases on one thread and write the page of results."""
    torch.set_num_threads(1)
    train = load_dataset("digits").train
    lines = [
        "# Many small networks trained at once",
        "",
        f"One update of adversarial training (PGD-{STEPS}, float32) of K networks: one after the other, as",
        "the trainer does it, and stacked with torch.func.vmap. Milliseconds of processor time per network and update,",
        "one thread; both ways give the same weights (checked to 1e-2 relative, 2e-4 absolute: float32 sums in another",
        "order). The study's grid has four runs that differ in nothing but their images, so K is 4 there. The trainer",
        "does not stack: a run's weights would then depend, in their last digits, on what is trained beside it.",
        "",
        f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, {processor()}.",
        "",
        "| architecture | K | batch | one by one, ms | stacked, ms | ratio |",
        "|---|---|---|---|---|---|",
    ]
    cases = itertools.product(("digits-plain", "digits-resnet", "digits-preact"), (4, 8), (32, 64, 128))
    for name, n_networks, n in cases:
        lines.append(compare(name, n_networks, torch.tensor(train.images[:n]), torch.tensor(train.labels[:n])))
        sys.stdout.write(lines[-1] + "\n")
    RESULT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
