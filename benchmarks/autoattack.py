"""Speed of our AutoAttack beside pyautoattack, in one process; writes results/autoattack.md.

Run as ``python -m benchmarks.autoattack``. Both attack the same images: each attack gets what pyautoattack's earlier
attacks left. With ``--manifest PATH --data FOLDER`` CIFAR-10 networks of a manifest are attacked too.
"""

import argparse
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.machine import processor
from measurebench.attacks.standard import ATTACKS, StandardSettings, evaluation, networks, standard_attack
from measurebench.attacks.standard.sampled import LEAST
from measurebench.core.specs import ModelSpec
from measurebench.core.threat import ThreatModel
from measurebench.datasets import load_dataset
from measurebench.models import load_model, resolve

RESULT = Path(__file__).parent / "results" / "autoattack.md"
SHARE = 0.25
DIGITS = ("digits:resnet-at-10-b64-s0-last", "digits:plain-trades-10-b64-s0-last")


class Counter:
    """Counts the images that go into a network, from outside."""

    def __init__(self) -> None:
        self.n = 0

    def on(self, network: nn.Module) -> None:
        network.register_forward_pre_hook(self._add)

    def _add(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.n += len(inputs[0])


@contextmanager
def counting_search(counter: Counter) -> Iterator[None]:
    """Count what goes into the networks that our engine makes for its searches."""
    made = evaluation.search_networks

    def counted(*args: Any) -> list[networks.Candidate]:
        choices = made(*args)
        for _, call in choices:
            counter.on(call.network if isinstance(call, networks.Reference) else call)
        return choices

    evaluation.search_networks = counted
    try:
        yield
    finally:
        evaluation.search_networks = made


def timed(function: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """Return the result and the processor seconds it took."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def median_pair(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the pair of seconds whose ratio is the median."""
    return sorted(pairs, key=lambda pair: pair[0] / pair[1])[len(pairs) // 2]


def stock(network: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, attack: str, batch: int) -> Tensor:
    """Return which images pyautoattack breaks, bool [n]."""
    from pyautoattack import AutoAttack

    logging.getLogger("auto-attack").setLevel(logging.ERROR)
    runner = AutoAttack(
        network, norm=threat.norm.value, eps=threat.radius, seed=0, version="custom", attacks=[attack], device="cpu"
    )
    runner.verbose = False
    runner.apgd.n_restarts = runner.fab.n_restarts = runner.apgd_targeted.n_restarts = 1
    adversarial, _ = runner.run_standard_evaluation(images, labels, batch_size=batch)
    return network(adversarial).argmax(1) != labels


def ours(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    threat: ThreatModel,
    attacks: tuple[str, ...],
    share: float | None = None,
) -> Tensor:
    """Return which images our engine breaks, bool [n]; with a share FAB-T and Square attack a sample."""
    settings = StandardSettings(attacks=attacks)
    keys = torch.arange(len(images))
    result = standard_attack(
        network, images, labels, threat, keys=keys, seed=0, n_classes=10, settings=settings, share=share
    )
    return ~result.robust


@dataclass
class Line:
    """One attack on one network: seconds, images broken, and forward passes, of stock and of ours."""

    attack: str
    n: int
    seconds: tuple[float, float]
    broken: tuple[int, int]
    differing: int
    forwards: tuple[int, int]

    def row(self) -> str:
        theirs, mine = self.seconds
        counts = f"{self.broken[0]} / {self.broken[1]} ({self.differing})"
        forwards = f"{self.forwards[0]:,} / {self.forwards[1]:,}"
        times = f"{theirs:.1f} | {mine:.1f} | {theirs / mine:.2f}"
        return f"| {self.attack} | {self.n} | {times} | {counts} | {forwards} |"


def compare(
    network: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, batch: int, repeats: int
) -> list[Line]:
    """Return a line per attack, one for all, and one for the sampled mode.

    Each attack is made ``repeats`` times by both in turns; its line has the turn with the median ratio.
    """
    counter = Counter()
    counter.on(network)
    warm = StandardSettings(apgd_steps=1, fab_steps=1, square_queries=1)
    keys = torch.arange(4)
    standard_attack(network, images[:4], labels[:4], threat, keys=keys, seed=0, n_classes=10, settings=warm)
    stock(network, images[:1], labels[:1], threat, "apgd-ce", batch)
    with torch.no_grad():
        alive = network(images).argmax(1) == labels
    images, labels = images[alive], labels[alive]
    whole = network, images, labels, threat
    broken_by_any = torch.zeros(len(images), dtype=torch.bool)
    left = torch.arange(len(images))
    lines: list[Line] = []
    for attack in ATTACKS:
        if not len(images):
            break
        counter.n = 0
        task = network, images, labels, threat
        seconds = []
        for _ in range(repeats):
            counter.n = 0
            theirs, stock_s = timed(lambda task=task, attack=attack: stock(*task, attack, batch))
            stock_n, counter.n = counter.n, 0
            with counting_search(counter):
                mine, our_s = timed(lambda task=task, attack=attack: ours(*task, (attack,)))
            seconds.append((stock_s, our_s))
        stock_s, our_s = median_pair(seconds)
        broken = int(theirs.sum()), int(mine.sum())
        differing = int((theirs != mine).sum())
        lines.append(Line(attack, len(images), (stock_s, our_s), broken, differing, (stock_n, counter.n)))
        sys.stderr.write(lines[-1].row() + "\n")
        images, labels = images[~theirs], labels[~theirs]
        broken_by_any[left[theirs]] = True
        left = left[~theirs]
    total = [sum(pair) for pair in zip(*(line.seconds for line in lines), strict=True)]
    forwards = [sum(pair) for pair in zip(*(line.forwards for line in lines), strict=True)]
    broken = [sum(pair) for pair in zip(*(line.broken for line in lines), strict=True)]
    lines.append(
        Line(
            "all",
            lines[0].n,
            (total[0], total[1]),
            (broken[0], broken[1]),
            sum(line.differing for line in lines),
            (forwards[0], forwards[1]),
        )
    )
    counter.n = 0
    with counting_search(counter):
        sampled, seconds = timed(lambda: ours(*whole, ATTACKS, SHARE))
    counts, differing = (broken[0], int(sampled.sum())), int((sampled != broken_by_any).sum())
    name = f"sampled at {SHARE:.0%}"
    lines.append(Line(name, lines[0].n, (total[0], seconds), counts, differing, (forwards[0], counter.n)))
    sys.stderr.write("\n".join(line.row() for line in lines[-2:]) + "\n")
    return lines


class Kept:
    """Results by name in a JSON file, so that an interrupted comparison goes on after its last finished attack."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.known = json.loads(path.read_text(encoding="utf-8")) if path and path.exists() else {}

    def get(self, name: str, make: Callable[[], tuple[Tensor, float, int]]) -> tuple[Tensor, float, int]:
        """Return which images were broken, seconds and passes: those kept under this name, or made and kept now."""
        if name not in self.known:
            broken, seconds, passes = make()
            self.known[name] = [broken.int().tolist(), seconds, passes]
            if self.path:
                self.path.write_text(json.dumps(self.known), encoding="utf-8")
        broken, seconds, passes = self.known[name]
        sys.stderr.write(f"{name}: {seconds:.1f} s, {passes} forwards, {sum(broken)} broken\n")
        return torch.tensor(broken, dtype=torch.bool), seconds, passes


def compare_sampled(
    name: str, network: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, batch: int, kept: Kept
) -> list[Line]:
    """Return a line for the sampled mode beside all attacks of pyautoattack, made once."""
    name = f"{name}, {threat}, {len(images)} images"
    counter = Counter()
    counter.on(network)
    with torch.no_grad():
        alive = network(images).argmax(1) == labels
    images, labels = images[alive], labels[alive]

    def made(function: Callable[[], Tensor]) -> tuple[Tensor, float, int]:
        counter.n = 0
        with counting_search(counter):
            broken, seconds = timed(function)
        return broken, seconds, counter.n

    task = network, images, labels, threat
    mine, our_s, our_n = kept.get(f"{name}, ours", lambda: made(lambda: ours(*task, ATTACKS, SHARE)))
    theirs, stock_s, stock_n = torch.zeros(len(images), dtype=torch.bool), 0.0, 0
    for attack in ATTACKS:
        left = (~theirs).nonzero()[:, 0]
        part = network, images[left], labels[left], threat, attack, batch
        found = kept.get(f"{name}, pyautoattack {attack}", lambda part=part: made(lambda: stock(*part)))
        theirs[left[found[0]]] = True
        stock_s, stock_n = stock_s + found[1], stock_n + found[2]
    counts, differing = (int(theirs.sum()), int(mine.sum())), int((mine != theirs).sum())
    return [Line(f"sampled at {SHARE:.0%}", len(images), (stock_s, our_s), counts, differing, (stock_n, our_n))]


def section(
    spec: str | ModelSpec,
    data: tuple[Tensor, Tensor],
    threat: ThreatModel,
    n: int,
    options: argparse.Namespace,
) -> list[str]:
    """Return the table of one network on its first n images."""
    batch, repeats = options.batch, options.repeats
    name = spec if isinstance(spec, str) else spec.id
    sys.stderr.write(f"{name}, {n} images, stock in batches of {batch}\n")
    network = load_model(spec).network
    images, labels = data[0][:n], data[1][:n]
    load = os.getloadavg()[0]
    task = network, images, labels, threat, batch
    kept = Kept(options.kept)
    lines = compare_sampled(name, *task, kept) if options.sampled_only else compare(*task, repeats)
    times = "once" if repeats == 1 or options.sampled_only else f"{repeats} times in turns, the median ratio"
    return [
        "",
        f"## {name}, {threat}, {n} images",
        "",
        f"pyautoattack in batches of {batch}; {times}; load average before: {load:.1f}.",
        "",
        "| attack | images | pyautoattack (s) | ours (s) | ratio | broken by each (verdicts that differ) | forwards |",
        "|---|---|---|---|---|---|---|",
        *[line.row() for line in lines],
    ]


def split(dataset: str, folder: Path | None = None) -> tuple[Tensor, Tensor]:
    """Return the test images and labels of a data set."""
    test = load_dataset(dataset, folder).test if folder else load_dataset(dataset).test
    return torch.from_numpy(np.array(test.images)), torch.from_numpy(np.array(test.labels))


def main() -> None:
    """Run the comparisons and write the page, which grows section by section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="*", default=[64, 512], help="digits images")
    parser.add_argument("--digits", nargs="*", default=list(DIGITS), help="digits networks")
    parser.add_argument("--batch", type=int, default=64, help="pyautoattack's batches")
    parser.add_argument("--manifest", help="a manifest of CIFAR-10 networks")
    parser.add_argument("--trust-code", action="store_true", help="run the code that the manifest names")
    parser.add_argument("--models", nargs="*", default=["*"], help="ids in the manifest")
    parser.add_argument("--data", type=Path, help="the folder of CIFAR-10")
    parser.add_argument("--cifar-images", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3, help="how often each attack is made by both, in turns")
    parser.add_argument("--sampled-only", action="store_true", help="only the sampled mode, beside all of pyautoattack")
    parser.add_argument("--kept", type=Path, metavar="FILE.json", help="with --sampled-only: keep what is done here")
    parser.add_argument("--append", action="store_true", help="add to the page that is there")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "pyautoattack"))
    lines = [
        "# AutoAttack beside pyautoattack",
        "",
        f"Python {platform.python_version()}, {versions}; {processor()}, one thread, processor seconds; other jobs may",
        "have shared the machine, so the ratios say more than the seconds. Each attack gets the images that",
        "pyautoattack's earlier attacks left. The two draw different random numbers, so single verdicts may differ.",
        f"Sampled: FAB-T and Square on {SHARE:.0%} of what the others left, at least {LEAST} images, beside all of",
        "pyautoattack.",
    ]
    options.out.parent.mkdir(exist_ok=True)
    if options.append and options.out.exists():
        lines = options.out.read_text(encoding="utf-8").splitlines()

    def add(part: list[str]) -> None:
        lines.extend(part)
        options.out.write_text("\n".join([*lines, ""]), encoding="utf-8")

    for n in options.images:
        for reference in options.digits:
            threat = ThreatModel.parse("Linf", "3/20")
            add(section(reference, split("digits"), threat, n, options))
    for name in options.models if options.manifest else ():
        for spec in resolve([f"{options.manifest}#{name}"], trust_code=options.trust_code):
            threat = spec.threat_model or ThreatModel.parse("Linf", "2/255")
            add(section(spec, split("cifar10", options.data), threat, options.cifar_images, options))


if __name__ == "__main__":
    main()
