"""Memory of our AutoAttack beside pyautoattack at the same batch; writes results/autoattack_memory.md.

Run as ``python -m benchmarks.autoattack_memory``; ``--manifest PATH --models ID --data FOLDER`` adds CIFAR-10 networks.
Both search a batch of right images, ours with as many rows at once; memory is the peak of the live tensors that
operations returned, beyond network and images. The searches are cut short: their memory does not grow with steps.
"""

import argparse
import logging
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.autoattack import DIGITS, split
from benchmarks.measures import Case, Memory
from measurebench.attacks.standard import ATTACKS, StandardSettings, standard_attack
from measurebench.core.threat import ThreatModel
from measurebench.models import load_model

RESULT = Path(__file__).parent / "results" / "autoattack_memory.md"
STEPS, FAB_STEPS, QUERIES = 10, 5, 100


def stock(case: Case, threat: ThreatModel, attack: str) -> None:
    """Run a short search of pyautoattack on the images in one batch."""
    from pyautoattack import AutoAttack

    logging.getLogger("auto-attack").setLevel(logging.ERROR)
    runner = AutoAttack(
        case.network, norm=threat.norm.value, eps=threat.radius, version="custom", attacks=[attack], device="cpu"
    )
    runner.verbose = False
    runner.apgd.n_restarts = runner.fab.n_restarts = runner.apgd_targeted.n_restarts = 1
    runner.apgd.n_iter = runner.apgd_targeted.n_iter = STEPS
    runner.fab.n_iter, runner.square.n_queries = FAB_STEPS, QUERIES
    runner.run_standard_evaluation(case.images, case.labels, batch_size=len(case.images))


def ours(case: Case, threat: ThreatModel, attack: str) -> None:
    """Run the same search of our engine, with as many rows at once as there are images."""
    n = len(case.images)
    settings = StandardSettings(
        attacks=(attack,), apgd_steps=STEPS, fab_steps=FAB_STEPS, square_queries=QUERIES, slots=n
    )
    task = case.network, case.images, case.labels, threat
    standard_attack(*task, keys=torch.arange(n), seed=0, n_classes=10, settings=settings)


def peaks(case: Case, threat: ThreatModel, attack: str) -> tuple[float, float]:
    """Return the peaks of both in MiB."""
    found = []
    for search in (stock, ours):
        watch = Memory(case)
        with watch:
            search(case, threat, attack)
        found.append(watch.peak / 2**20)
    return found[0], found[1]


def right(network: nn.Module, images: Tensor, labels: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the first n images that the network gets right, in storage of their own."""
    with torch.no_grad():
        correct = torch.cat([network(part).argmax(1) for part in images.split(256)]) == labels
    return images[correct][:n].clone(), labels[correct][:n].clone()


def section(name: str, network: nn.Module, data: tuple[Tensor, Tensor], threat: ThreatModel, n: int) -> list[str]:
    """Return the table of one network."""
    images, labels = right(network, *data, n)
    case = Case(name, network, network, images, labels, threat.radius)
    rows = {attack: peaks(case, threat, attack) for attack in ATTACKS}
    rows["the whole evaluation"] = (max(a for a, _ in rows.values()), max(b for _, b in rows.values()))
    return [
        "",
        f"## {name}, {threat}, {len(images)} images",
        "",
        "| attack | pyautoattack, MiB | ours, MiB |",
        "|---|---|---|",
        *(f"| {attack} | {theirs:.1f} | {mine:.1f} |" for attack, (theirs, mine) in rows.items()),
    ]


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--manifest", help="a manifest of CIFAR-10 networks")
    parser.add_argument("--models", nargs="*", default=[], help="ids in the manifest")
    parser.add_argument("--data", type=Path, help="the folder of CIFAR-10")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# Memory of AutoAttack beside pyautoattack",
        "",
        f"torch {version('torch')}, pyautoattack {version('pyautoattack')}. Both search the same images, one batch in",
        "pyautoattack, as many rows at once in ours. Memory is the peak of the live tensors that operations returned,",
        f"beyond network and images, of searches cut to {STEPS} steps (FAB {FAB_STEPS}, Square {QUERIES} queries).",
        "The whole evaluation needs what its largest attack needs.",
    ]
    for name in DIGITS:
        threat = ThreatModel.parse("Linf", "3/20")
        lines += section(name, load_model(name).network, split("digits"), threat, options.images)
    for name in options.models:
        loaded = load_model(f"{options.manifest}#{name}")
        threat = loaded.spec.threat_model or ThreatModel.parse("Linf", "2/255")
        lines += section(name, loaded.network, split("cifar10", options.data), threat, options.images)
    RESULT.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
