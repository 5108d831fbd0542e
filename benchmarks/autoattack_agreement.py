"""How often our AutoAttack and pyautoattack disagree, beside how often two seeds of pyautoattack do.

Run as ``python -m benchmarks.autoattack_agreement``; writes results/autoattack_agreement.md. APGD-CE and APGD-T, which
decide nearly everything, are attacked with together; FAB-T and Square alone. With ``--manifest PATH --data FOLDER``
CIFAR-10 networks of a manifest are attacked too, at two radii.
"""

import argparse
import itertools
import logging
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from benchmarks.autoattack import split
from benchmarks.machine import processor
from measurebench.attacks.standard import StandardSettings, standard_attack
from measurebench.core.threat import ThreatModel
from measurebench.models import load_model, resolve

RESULT = Path(__file__).parent / "results" / "autoattack_agreement.md"
NETWORKS = (
    "digits:resnet-at-10-b64-s0-last",
    "digits:plain-trades-10-b64-s0-last",
    "digits:preact-at-10-b64-s0-last",
    "digits:plain-at-10-b64-s0-last",
)
APGD = ("apgd-ce", "apgd-t")
SEEDS = (0, 1, 2)


def stock(
    network: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, attacks: Sequence[str], seed: int
) -> Tensor:
    """Return which images withstand pyautoattack, bool [n]."""
    from pyautoattack import AutoAttack

    logging.getLogger("auto-attack").setLevel(logging.ERROR)
    runner = AutoAttack(
        network, norm=threat.norm.value, eps=threat.radius, seed=seed, version="custom", attacks=list(attacks)
    )
    runner.verbose = False
    runner.apgd.n_restarts = runner.fab.n_restarts = runner.apgd_targeted.n_restarts = 1
    adversarial, _ = runner.run_standard_evaluation(images, labels, batch_size=500)
    return network(adversarial).argmax(1) == labels


def ours(
    network: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, attacks: Sequence[str], seed: int = 0
) -> Tensor:
    """Return which images withstand our engine, bool [n]."""
    settings = StandardSettings(attacks=tuple(attacks))
    keys = torch.arange(len(images))
    return standard_attack(
        network, images, labels, threat, keys=keys, seed=seed, n_classes=10, settings=settings
    ).robust


@dataclass(frozen=True)
class Verdicts:
    """The verdicts on the same images: ``mine`` bool [n], and ``theirs``, one bool [n] for each seed."""

    mine: Tensor
    theirs: tuple[Tensor, ...]

    @property
    def between(self) -> list[int]:
        """How often two seeds of pyautoattack disagree, for each pair of seeds."""
        return [int((a != b).sum()) for a, b in itertools.combinations(self.theirs, 2)]

    @property
    def across(self) -> list[int]:
        """How often ours disagrees with pyautoattack, for each of its seeds."""
        return [int((self.mine != a).sum()) for a in self.theirs]

    @property
    def more(self) -> int:
        """Verdicts that are robust with ours alone, over all seeds."""
        return sum(int((self.mine & ~a).sum()) for a in self.theirs)

    @property
    def fewer(self) -> int:
        """Verdicts that are robust with pyautoattack alone, over all seeds."""
        return sum(int((~self.mine & a).sum()) for a in self.theirs)

    @property
    def p(self) -> float:
        """McNemar's one-sided p that ours leaves more survivors; seeds share images, so it is a guide."""
        n = self.more + self.fewer
        return float(binomtest(self.more, n, alternative="greater").pvalue) if n else 1.0

    @classmethod
    def joined(cls, parts: Sequence["Verdicts"]) -> "Verdicts":
        """Return the verdicts of several networks as one."""
        theirs = tuple(torch.cat(seeds) for seeds in zip(*(part.theirs for part in parts), strict=True))
        return cls(torch.cat([part.mine for part in parts]), theirs)

    def row(self, name: str, attacks: Sequence[str], threat: ThreatModel | str) -> str:
        """Return the line of a table."""
        survivors = ", ".join(str(int(a.sum())) for a in self.theirs)
        counts = f"{len(self.mine)} | {survivors} | {int(self.mine.sum())}"
        where = f"{name} | {', '.join(attacks)} | {threat}"
        return f"| {where} | {counts} | {self.between} | {self.across} | {self.more} / {self.fewer} | {self.p:.2f} |"


def verdicts(
    network: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, attacks: Sequence[str]
) -> Verdicts:
    """Attack the images [n, ...] that the network classifies rightly with ours and with three seeds of pyautoattack."""
    with torch.no_grad():
        alive = network(images).argmax(1) == labels
    task = network, images[alive], labels[alive], threat, attacks
    return Verdicts(ours(*task), tuple(stock(*task, seed) for seed in SEEDS))


def main() -> None:
    """Compare, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--digits", nargs="*", default=list(NETWORKS), help="networks of the digits")
    parser.add_argument("--images", type=int, default=300, help="test digits for APGD")
    parser.add_argument("--few", type=int, default=100, help="test digits for FAB-T and Square alone")
    parser.add_argument("--manifest", help="a manifest of CIFAR-10 networks")
    parser.add_argument("--trust-code", action="store_true", help="run the code that the manifest names")
    parser.add_argument("--models", nargs="*", default=["*"], help="ids in the manifest")
    parser.add_argument("--data", type=Path, help="the folder of CIFAR-10")
    parser.add_argument("--cifar-images", type=int, default=64)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# Agreement with pyautoattack",
        "",
        f"torch {version('torch')}, pyautoattack {version('pyautoattack')}; {processor() or platform.machine()}.",
        f"The first {options.images} test digits (FAB-T and Square alone: {options.few}) and {options.cifar_images}",
        f"test images of CIFAR-10; seeds {SEEDS} of pyautoattack, one of ours. Disagreements are counted for each pair",
        "of seeds, and of ours with each seed. `more / fewer`: verdicts robust with ours alone and with pyautoattack",
        "alone, over all seeds; p: McNemar's, one-sided, that ours leaves more survivors (the seeds share images, so",
        "p is a guide rather than a test).",
        "",
        "| network | attacks | threat | n | left by pyautoattack | by ours | between its seeds | ours with each |"
        " more / fewer | p |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    parts: list[Verdicts] = []

    def add(
        name: str, network: nn.Module, data: tuple[Tensor, Tensor], threat: ThreatModel, attacks: Sequence[str]
    ) -> None:
        parts.append(verdicts(network, *data, threat, attacks))
        lines.append(parts[-1].row(name, attacks, threat))
        sys.stderr.write(lines[-1] + "\n")
        total = Verdicts.joined(parts).row("all", ("each",), "each")
        options.out.write_text("\n".join([*lines, total, ""]), encoding="utf-8")

    threat = ThreatModel.parse("Linf", "3/20")
    images, labels = split("digits")
    for name in options.digits:
        network = load_model(name).network
        add(name, network, (images[: options.images], labels[: options.images]), threat, APGD)
        for attack in ("fab-t", "square"):
            add(name, network, (images[: options.few], labels[: options.few]), threat, (attack,))
    if options.manifest:
        images, labels = (part[: options.cifar_images] for part in split("cifar10", options.data))
    chosen = [f"{options.manifest}#{name}" for name in options.models] if options.manifest else []
    for spec in resolve(chosen, trust_code=options.trust_code) if chosen else ():
        network = load_model(spec).network
        for radius in ("2/255", "8/255"):
            add(spec.id, network, (images, labels), ThreatModel.parse("Linf", radius), APGD)


if __name__ == "__main__":
    main()
