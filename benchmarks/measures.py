"""Time, memory and passes of the core measures beside straightforward code; writes results/measures.md.

Run as ``python -m benchmarks.measures [NETWORK ...]``. Both sides run in one process, on one thread, in turns. Passes
are counted from outside, by hooks on the network; memory by watching every tensor that an operation returns.
"""

import copy
import platform
import sys
import time
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.machine import processor
from benchmarks.plain_measures import REFERENCES, w_grad_norm_with_error
from measurebench.datasets import load_dataset
from measurebench.measures.api import measure
from measurebench.models.architectures import built_in

BATCH = 100
# Rounds for times in seconds: other jobs disturb a short run most, and the least of several is what the code takes.
ROUNDS = ((0.5, 15), (2.0, 5), (10.0, 3))
# The searches of a noise level: how many passes they take depends on the noise that each side draws.
SEARCHES, PGD_ROW = ("pacbayes_flat_pgd", "pacbayes_mag_flat_pgd"), "average_ce_pgd"
RESULT = Path(__file__).parent / "results" / "measures.md"


@dataclass
class Case:
    """One network with its images; ``initial`` stands for the weights before training."""

    name: str
    network: nn.Module
    initial: nn.Module
    images: Tensor
    labels: Tensor
    radius: float


class Passes:
    """Forward and backward passes per example, counted by hooks on a network (its copies carry them along)."""

    def __init__(self, network: nn.Module, n: int) -> None:
        self.n, self.forward, self.backward = n, 0.0, 0.0
        self.sizes: Counter[tuple[int, bool]] = Counter()  # of passes, by images and whether gradients are kept
        network.register_forward_hook(self._forward)

    def _forward(self, _module: nn.Module, _inputs: Any, logits: Tensor) -> None:
        self.forward += len(logits) / self.n
        self.sizes[len(logits), logits.requires_grad] += 1
        if logits.requires_grad:
            logits.register_hook(self._backward)

    def _backward(self, gradient: Tensor) -> None:
        self.backward += len(gradient) / self.n

    def taken(self) -> tuple[float, float]:
        """Return the passes since the last call."""
        found = self.forward, self.backward
        self.forward = self.backward = 0.0
        self.sizes.clear()
        return found

    def __deepcopy__(self, _memo: dict[int, Any]) -> "Passes":
        return self


class Memory(TorchDispatchMode):
    """Bytes of the tensors that operations returned and that are still alive: now, and at the most.

    Views of the tensors of a case, which were there before, take none.
    """

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.now = self.peak = 0
        networks = (case.network, case.initial)
        given = [t for network in networks for t in (*network.parameters(), *network.buffers())]
        self.seen = {t.untyped_storage()._cdata for t in (*given, case.images, case.labels)}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.note(leaf)
        return result

    def note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.seen:
            return
        self.seen.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self.forget, key, size)

    def forget(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.now -= size


@dataclass
class Cost:
    """Processor seconds, peak of live tensors in MiB, passes per example, and the number of passes of each size."""

    seconds: float
    memory: float
    forward: float
    backward: float
    sizes: Counter[tuple[int, bool]] = field(default_factory=Counter)


def cost(function: Callable[[Case], object], case: Case, passes: Passes) -> Cost:
    """Run a function once for its time and once more, on one batch, for its memory."""
    passes.taken()
    seconds = timed(function, case)
    sizes = passes.sizes.copy()
    forward, backward = passes.taken()
    watch = Memory(case)
    with watch:
        function(replace(case, images=case.images[:BATCH], labels=case.labels[:BATCH]))
    passes.taken()
    return Cost(seconds, watch.peak / 2**20, forward, backward, sizes)


def both(ours: Callable[[Case], object], theirs: Callable[[Case], object], case: Case, passes: Passes) -> list[Cost]:
    """Return the costs of two functions that run in turns: the least time of each, over more rounds if it is short."""
    costs = [cost(function, case, passes) for function in (ours, theirs)]
    rounds = next((n for seconds, n in ROUNDS if max(c.seconds for c in costs) < seconds), 1)
    for _ in range(rounds - 1):
        for found, function in zip(costs, (ours, theirs), strict=True):
            found.seconds = min(found.seconds, timed(function, case))
    passes.taken()
    return costs


def timed(function: Callable[[Case], object], case: Case) -> float:
    """Return the processor seconds that a function takes, from the same state of torch's generator each time.

    Otherwise the least of several rounds would be that of the noise for which a search needs the fewest passes.
    """
    torch.manual_seed(0)
    start = time.process_time()
    function(case)
    return time.process_time() - start


def passes_alone(case: Case, sizes: Counter[tuple[int, bool]]) -> float:
    """Return the processor seconds of passes of these sizes and nothing else, each timed by itself."""
    total = 0.0
    for (n, gradients), times in sizes.items():
        images = case.images.repeat(-(-n // len(case.images)), 1, 1, 1)[:n]

        def once(c: Case, images: Tensor = images, gradients: bool = gradients) -> None:
            points = images.clone().requires_grad_(gradients)
            with torch.set_grad_enabled(gradients):
                logits = c.network(points)
            if gradients:
                torch.autograd.grad(logits.sum(), points)

        once(case)
        total += times * min(timed(once, case) for _ in range(5))
    return total


def digits(name: str) -> Case:
    """Return a digits network trained for a moment against one-step attacks, and the training images."""
    torch.manual_seed(0)
    split = load_dataset("digits").train.first(500)
    images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    network = built_in()[name].build(n_classes=10, in_channels=1)
    initial = copy.deepcopy(network).eval()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for _ in range(15):
        for rows in torch.randperm(500).split(50):
            x, y = images[rows], labels[rows]
            start = (x + torch.empty_like(x).uniform_(-0.125, 0.125)).requires_grad_(True)
            (slope,) = torch.autograd.grad(nn.functional.cross_entropy(network(start), y), start)
            attacked = (x + 0.125 * slope.sign()).clamp(0, 1)
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(attacked), y).backward()
            optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return Case(name, network.eval().requires_grad_(False), initial, images, labels, 0.125)


def resnet18(n: int = 4) -> Case:
    """Return an untrained ResNet-18 on random images with its own predictions as labels (costs do not depend on it)."""
    torch.manual_seed(0)
    network = built_in()["resnet-18"].build(n_classes=10, in_channels=3).eval().requires_grad_(False)
    images = torch.rand(n, 3, 32, 32)
    initial = copy.deepcopy(network)
    return Case("resnet-18", network, initial, images, network(images).argmax(1), 0.01 / 255)


def compare(case: Case) -> list[str]:
    """Return the table's rows of one network: each core measure, then all of them."""
    passes = Passes(case.network, len(case.images))

    def ours(names: list[str]) -> Callable[[Case], object]:
        return lambda c: measure(
            c.network, c.images, c.labels, names, radius=c.radius, initial_network=c.initial, batch_size=BATCH
        )

    def theirs(names: list[str]) -> Callable[[Case], object]:
        return lambda c: [REFERENCES[name](c.network, c.initial, c.images, c.labels, c.radius) for name in names]

    # what is loaded once is not compared: scipy.stats for the inverse margin, torch's forward derivatives
    ours(["average_ce_pgd", "inverse_margin_pgd", "w_grad_norm_pgd"])(case), theirs(["average_ce_pgd"])(case)
    rows: list[str] = []
    pairs: dict[str, list[Cost]] = {}
    for name in REFERENCES:
        here, there = pairs[name] = both(ours([name]), theirs([name]), case, passes)
        rows.append(row(name, here, there))
        print(rows[-1], file=sys.stderr, flush=True)
    # In turns as well: a sum of rows that ran minutes before would compare two states of the machine.
    here, there = both(ours(list(REFERENCES)), theirs(list(REFERENCES)), case, passes)
    passes.taken()
    alone = passes_alone(case, here.sizes)
    rows.append(row(f"**all {len(REFERENCES)}**", here, there))
    return [
        *rows,
        "",
        f"The passes of measurebench alone, {here.forward:.0f} forward and {here.backward:.0f} backward per image in"
        f" {sum(here.sizes.values())} calls of the network, each timed by itself: {alone:.2f} s,"
        f" {100 * alone / here.seconds:.0f} % of its time. Plain code takes {there.seconds / alone:.1f} times as long:"
        " more cannot be reached with these passes.",
        "",
        *(search_passes(name, pairs[name], pairs[PGD_ROW]) for name in SEARCHES),
        with_error(case, pairs["w_grad_norm_pgd"][0]),
    ]


def with_error(case: Case, here: Cost) -> str:
    """Say what the gradient norm takes plain code if it too gives a standard error."""

    def plain(c: Case) -> object:
        return w_grad_norm_with_error(c.network, c.initial, c.images, c.labels, c.radius)

    there = min(timed(plain, case) for _ in range(3))
    return (
        f"- `w_grad_norm_pgd` comes with a standard error. With one, from the gradients of one image at a time, plain"
        f" code takes {there:.3f} s and measurebench {here.seconds:.3f} s ({there / here.seconds:.1f}x)."
    )


def search_passes(name: str, search: list[Cost], attack: list[Cost]) -> str:
    """Say what one forward pass of a search takes on each side, the attack's time and passes subtracted."""
    here, there = (
        1e3 * (whole.seconds - part.seconds) / (whole.forward - part.forward)
        for whole, part in zip(search, attack, strict=True)
    )
    return (
        f"- `{name}`: one noisy network over all images takes plain code {there:.2f} ms and measurebench {here:.2f} ms"
        f" ({there / here:.1f}x)."
    )


def row(title: str, here: Cost, there: Cost) -> str:
    """Format one line of the table."""
    cells = [
        title,
        f"{there.seconds:.3f}",
        f"{here.seconds:.3f}",
        f"{there.seconds / max(here.seconds, 1e-4):.1f}x",
        f"{there.memory:.1f}",
        f"{here.memory:.1f}",
        f"{there.memory / here.memory:.2f}x" if here.memory else "-",
        f"{there.forward:.0f} / {there.backward:.0f}",
        f"{here.forward:.0f} / {here.backward:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


HEAD = """| measure | plain, s | measurebench, s | ratio | plain, MiB | measurebench, MiB | ratio | plain F / B | measurebench F / B |
|---|---|---|---|---|---|---|---|---|"""  # noqa: E501


def main() -> None:
    torch.set_num_threads(1)
    lines = [
        "# The core measures beside straightforward code",
        "",
        "Each measure asked for alone, then all at once, beside `benchmarks/plain_measures.py`, which computes each by",
        "a loop of its own as public codes do: a fresh attack per measure, a copy of the network per random draw,",
        "boundary thickness one image at a time. Batches of 100 on both sides. Seconds are processor time on one",
        "thread, the two sides in turns, the least of 15 rounds where both take under half a second, of five under",
        "two, of three under ten, each round with the same random numbers; memory is the peak of live tensors that",
        "operations returned, beyond networks and images, on one batch; F / B are forward and backward passes per",
        "image, counted by hooks on the network.",
        "",
        f"Python {platform.python_version()}, torch {torch.__version__}, measurebench {version('measurebench')},"
        f" {platform.machine()}, {processor()}.",
    ]
    chosen = sys.argv[1:] or ["digits-plain", "digits-resnet", "resnet-18"]
    for case in (resnet18() if name == "resnet-18" else digits(name) for name in chosen):
        n_weights = sum(p.numel() for p in case.network.parameters())
        lines += ["", f"## {case.name}: {n_weights:,} parameters, {len(case.images)} images", "", HEAD, *compare(case)]
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
