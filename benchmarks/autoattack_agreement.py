"""How often our AutoAttack and pyautoattack disagree, beside how often two seeds of pyautoattack do.

Run as ``python -m benchmarks.autoattack_agreement``; writes results/autoattack_agreement.md. APGD-CE and APGD-T alone:
they decide nearly everything, and FAB-T is not random.
"""

import argparse
import itertools
import logging
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from benchmarks.autoattack import split
from benchmarks.machine import processor
from measurebench.attacks.standard import StandardSettings, standard_attack
from measurebench.core.threat import ThreatModel
from measurebench.models import load_model

RESULT = Path(__file__).parent / "results" / "autoattack_agreement.md"
NETWORKS = (
    "digits:resnet-at-10-b64-s0-last",
    "digits:plain-trades-10-b64-s0-last",
    "digits:preact-at-10-b64-s0-last",
    "digits:plain-at-10-b64-s0-last",
)
ATTACKS = ("apgd-ce", "apgd-t")
SEEDS = (0, 1, 2)


def stock(network: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, seed: int) -> Tensor:
    """Return which images withstand pyautoattack, bool [n]."""
    from pyautoattack import AutoAttack

    logging.getLogger("auto-attack").setLevel(logging.ERROR)
    runner = AutoAttack(
        network, norm=threat.norm.value, eps=threat.radius, seed=seed, version="custom", attacks=list(ATTACKS)
    )
    runner.verbose = False
    runner.apgd.n_restarts = 1
    adversarial, _ = runner.run_standard_evaluation(images, labels, batch_size=500)
    return network(adversarial).argmax(1) == labels


def ours(network: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, seed: int) -> Tensor:
    """Return which images withstand our engine, bool [n]."""
    settings = StandardSettings(attacks=ATTACKS)
    keys = torch.arange(len(images))
    return standard_attack(
        network, images, labels, threat, keys=keys, seed=seed, n_classes=10, settings=settings
    ).robust


def row(name: str, mine: Tensor, theirs: list[Tensor]) -> str:
    """Return one network's line: survivors of each, disagreements, and McNemar's p of more survivors of ours."""
    between = [int((a != b).sum()) for a, b in itertools.combinations(theirs, 2)]
    across = [int((mine != a).sum()) for a in theirs]
    more = sum(int((mine & ~a).sum()) for a in theirs)
    fewer = sum(int((~mine & a).sum()) for a in theirs)
    p = binomtest(more, more + fewer, alternative="greater").pvalue if more + fewer else 1.0
    survivors = ", ".join(str(int(a.sum())) for a in theirs)
    counts = f"{len(mine)} | {survivors} | {int(mine.sum())}"
    return f"| {name} | {counts} | {between} | {across} | {more} / {fewer} | {p:.2f} |"


def main() -> None:
    """Compare, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images, labels = (part[: options.images] for part in split("digits"))
    threat = ThreatModel.parse("Linf", "3/20")
    lines = [
        "# Agreement with pyautoattack",
        "",
        f"torch {version('torch')}, pyautoattack {version('pyautoattack')}; {processor() or platform.machine()}.",
        f"APGD-CE and APGD-T, {threat}, the first {options.images} test digits; seeds {SEEDS} of pyautoattack, one of",
        "ours. Disagreements are counted for each pair of seeds, and of ours with each seed. `more / fewer`: verdicts",
        "robust with ours alone and with pyautoattack alone, over all seeds; p: McNemar's, one-sided, that ours leaves",
        "more survivors (the seeds share images, so p is a guide rather than a test).",
        "",
        "| network | n | left by pyautoattack | by ours | between its seeds | ours with each | more / fewer | p |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in NETWORKS:
        network = load_model(name).network
        alive = network(images).argmax(1) == labels
        task = network, images[alive], labels[alive], threat
        lines.append(row(name, ours(*task, seed=0), [stock(*task, seed=seed) for seed in SEEDS]))
        sys.stderr.write(lines[-1] + "\n")
        RESULT.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
