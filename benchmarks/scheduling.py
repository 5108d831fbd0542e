"""How well the workers of a large study are used, by simulation; writes results/scheduling.md.

Run as ``python -m benchmarks.scheduling``. The queue and the cost model are those of a real run. Only the clock is
simulated: a block takes what the cost model predicts, times a random error that the queue does not know of.
"""

import argparse
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from measurebench.core.config import RunConfig
from measurebench.core.specs import ModelSpec
from measurebench.core.threat import ThreatModel
from measurebench.datasets import Dataset, ImageSplit
from measurebench.engine.options import RunOptions
from measurebench.engine.plan import Task, chosen_measures, pairs_of
from measurebench.engine.scheduling.blocks import blocks_of_all
from measurebench.engine.scheduling.costs import CostModel
from measurebench.engine.scheduling.flops import architecture_key
from measurebench.engine.scheduling.queue import BlockQueue
from measurebench.engine.scheduling.simulated import Played, play

RESULT = Path(__file__).parent / "results" / "scheduling.md"
N_MODELS = 1300
LOADING = 20.0  # seconds to load a model and to predict its clean images
# Networks of CIFAR-10 leaderboards: operations of a forward pass of one image in units of 10^9, and how many of 100.
ARCHITECTURES = {
    "WRN-28-4": (1.7, 10),
    "ResNet-18": (1.1, 38),
    "ResNet-50": (2.6, 8),
    "WRN-28-10": (10.5, 22),
    "WRN-34-10": (13.3, 14),
    "WRN-34-20": (53.0, 4),
    "WRN-70-16": (77.5, 4),
}


def options(test_examples: int) -> RunOptions:
    """Return the options of the study."""
    return RunOptions("arrays:x.npz", train_examples=1000, test_examples=test_examples, device="cpu")


def images(test_examples: int) -> Dataset:
    """Return a data set of the study's size; nobody looks at its images."""

    def split(n: int) -> ImageSplit:
        return ImageSplit(np.zeros((n, 1, 1, 1), np.float32), np.zeros(n, np.int64), np.arange(n))

    return Dataset("simulated", tuple("0123456789"), split(1000), split(test_examples))


def study(n_models: int, test_examples: int, seed: int = 0) -> tuple[list[Task], CostModel]:
    """Return the blocks of a study with AutoAttack, its models in random order, and the model of their costs."""
    asked, data = options(test_examples), images(test_examples)
    names, shares = list(ARCHITECTURES), [share for _, share in ARCHITECTURES.values()]
    drawn = np.random.default_rng(seed).choice(names, n_models, p=np.array(shares) / sum(shares))
    specs = [ModelSpec(f"m{n}", "robustbench", f"m{n}", architecture=name) for n, name in enumerate(drawn)]
    pairs = tuple((item.info.id, split) for item, split in pairs_of(chosen_measures(asked), asked))
    config = RunConfig("simulated", "", "", ThreatModel.parse("Linf", "8/255"))
    entries = [
        {"architecture_key": architecture_key(spec), "flops": ARCHITECTURES[str(spec.architecture)][0] * 1e9}
        for spec in specs
    ]
    # The rate of one GPU, as a folder would have it on record.
    earlier = [{"device": "cpu", "kind": kind, "work": 5e12, "seconds": 1.2} for kind in ("attack", "measures")]
    tasks = [Task(spec, spec.id, config, pairs) for spec in specs]
    return blocks_of_all(tasks, asked, data), CostModel(asked, data, entries, earlier)


def errors(sigma: float, seed: int) -> Callable[[Task], float]:
    """Return random factors, log-normal with this ``sigma``: one half for the model, one half for the block."""

    @cache
    def normal(name: str) -> float:
        return float(np.random.default_rng([seed, zlib.crc32(name.encode())]).normal())

    def factor(task: Task) -> float:
        block = f"{task.spec.id} {task.pairs or task.part}"
        return float(np.exp(sigma * (normal(task.spec.id) + normal(block)) / np.sqrt(2)))

    return factor


def played(blocks: Sequence[Task], costs: CostModel, workers: int, sigma: float, *, divide: bool = True) -> Played:
    """Return how the study goes on so many workers, in the order of the queue, or undivided in the order given."""
    factor = errors(sigma, seed=1)
    queue = BlockQueue(blocks, costs.seconds, workers=workers) if divide else BlockQueue(_whole(blocks))

    def seconds(task: Task) -> float:
        return costs.seconds(task) * factor(task)

    return play(queue, workers, seconds, lambda _: LOADING)


def _whole(blocks: Sequence[Task]) -> list[Task]:
    """Return one task for each model, as runs had them before there were blocks."""
    pairs: dict[str, list[Task]] = {}
    for block in blocks:
        pairs.setdefault(block.spec.id, []).append(block)
    return [
        replace(found[0], pairs=tuple(pair for block in found for pair in block.pairs), parts=())
        for found in pairs.values()
    ]


def main() -> None:
    """Simulate the study on several numbers of workers and write the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    start = time.perf_counter()
    lines = []
    for test_examples in (1000, 10000):
        blocks, costs = study(N_MODELS, test_examples)
        for workers in (1, 8, 64):
            for sigma in (0.0, 0.5, 1.0):
                new = played(blocks, costs, workers, sigma)
                old = played(blocks, costs, workers, sigma, divide=False)
                lines.append(
                    f"| {test_examples:,} | {workers} | {sigma} | {new.use:.1%} | {new.efficiency:.1%} | "
                    f"{old.use:.1%} | {old.efficiency:.1%} | {new.seconds / 3600:,.1f} | {old.seconds / 3600:,.1f} | "
                    f"{new.n_loads:,} |"
                )
                print(lines[-1], flush=True)
    RESULT.write_text(_PAGE.format(n=N_MODELS, rows="\n".join(lines), seconds=time.perf_counter() - start))


_PAGE = """# Use of the workers

A simulation of {n:,} models, from WRN-28-4 to WRN-70-16, with the core measures and AutoAttack: 1,000 training images
and the number of test images that the first column says. The queue and the cost model are those of a real run; the
clock is simulated, at 5 x 10^12 operations per second and 20 s to load a model. A block takes what was predicted times
a log-normal error, of which sigma is the standard deviation of the logarithm. *Use* is the share of the workers' time
with a block, until 5 % of the work remains. *Efficiency* counts to the very end, and loading as lost. *Before* is one
task for each model, first come, first served; its errors are drawn for models, so that its work is a little another.
Made by `python -m benchmarks.scheduling` in {seconds:.0f} s.

| test images | workers | sigma | use | efficiency | use before | efficiency before | hours | hours before | loads |
|---|---|---|---|---|---|---|---|---|---|
{rows}
"""


if __name__ == "__main__":
    main()
