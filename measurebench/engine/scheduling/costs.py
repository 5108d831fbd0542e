"""Predicts how long a block takes, from the network's size, the examples and the passes, and tells how far it was off.

The seconds of a block are the floating-point operations of a forward pass, times the examples, times the passes per
example, divided by a rate. The rate comes from the blocks that the folder has on record; before there are any it is a
guess, which moves all predictions alike.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from measurebench.compute.devices import choose_device
from measurebench.core.info import Split
from measurebench.core.specs import ModelSpec
from measurebench.datasets import Dataset
from measurebench.engine.events import BlockTime
from measurebench.engine.options import RunOptions
from measurebench.engine.plan import Task, chosen_measures, n_attacked, n_examples
from measurebench.engine.scheduling.equivalents import BACKWARD, forward_equivalents
from measurebench.engine.scheduling.flops import architecture_key
from measurebench.measures.registry import Measure
from measurebench.measures.robustness.accuracy import AttackAccuracy
from measurebench.store.gpu_uses import GpuUse
from measurebench.store.predictions import is_amount

__all__ = ["BlockCost", "CostModel"]

_RATES = {"cpu": 2e10, "cuda": 5e12}  # operations per second of one core and of a GPU, before anything is on record
_OVERHEAD = 0.2  # seconds of a block, whatever the network
# Operations per parameter, for each pixel: 0.1 for a ResNet-18 and 0.28 for a WRN-28-10 at 32 x 32. Networks for large
# images reduce them at once: 320 in all for a ResNet-50 at 224 x 224.
_PER_PIXEL, _PER_PARAMETER = 0.2, 300.0
_PARAMETERS = 1e7  # of a network of which nothing is known
_BYTES = 4  # of a parameter in a checkpoint
_ROBUST = 0.4  # of the images withstand an attack to its end; the others are soon broken
_BROKEN = 0.05  # of a robust image's passes go into one that is broken


@dataclass(frozen=True)
class BlockCost:
    """What a block was predicted to take and took, in seconds; ``kind`` is attack, measures or mixed.

    ``work`` are the operations that the prediction rests on. ``loading`` seconds are not part of ``seconds``. ``gpu``
    is how the block's GPU was used at its end, None on a CPU.
    """

    model_id: str
    config_digest: str
    block: str
    kind: str
    device: str
    work: float
    predicted: float
    seconds: float
    loading: float
    gpu: GpuUse | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the cost as plain values for JSON; without ``gpu`` where there is none."""
        return {name: value for name, value in asdict(self).items() if name != "gpu" or value is not None}


@dataclass(frozen=True)
class _Pair:
    """A measure on a split: examples, and passes per example (the mean over robust and other images)."""

    n: int
    passes: float
    is_attack: bool
    reads_pgd: bool


class CostModel:
    """Predictions for the blocks of one run.

    ``entries`` are those of the catalogue, which know parameters and operations of models that were loaded before;
    ``earlier`` are the costs of blocks on record.
    """

    def __init__(
        self,
        options: RunOptions,
        dataset: Dataset,
        entries: Iterable[Mapping[str, Any]] = (),
        earlier: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self._options, self._dataset = options, dataset
        self._measures: dict[str, Measure] = {item.info.id: item for item in chosen_measures(options)}
        self._device = choose_device(options.device).partition(":")[0]
        self._pairs: dict[tuple[str, Split], _Pair] = {}
        self._flops: dict[str, float] = {}
        height, width = (*dataset.test.images.shape, 1, 1)[2:4]
        self._per_parameter = min(_PER_PIXEL * height * width, _PER_PARAMETER)
        self._learn(entries)
        self._rates = self._measured_rates(earlier)

    def seconds(self, task: Task) -> float:
        """Return how long a block is predicted to take, without the loading of its model."""
        attacks, measures = self._work(task)
        return _OVERHEAD + attacks / self._rates["attack"] + measures / self._rates["measures"]

    def compared(self, time: BlockTime) -> BlockCost:
        """Return a block's prediction beside what it took."""
        task, work = time.task, self._work(time.task)
        return BlockCost(
            model_id=task.spec.id,
            config_digest=task.config.digest(),
            block=_label(task),
            kind="mixed" if all(work) else "attack" if work[0] else "measures",
            device=self._device,
            work=sum(work),
            predicted=self.seconds(task),
            seconds=time.measuring,
            loading=time.loading,
            gpu=time.gpu,
        )

    def _learn(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Take over the operations of the architectures that were counted."""
        ratios = []
        for entry in entries:
            if flops := entry.get("flops"):
                self._flops[str(entry.get("architecture_key"))] = float(flops)
                if parameters := entry.get("n_parameters"):
                    ratios.append(float(flops) / float(parameters))
        if ratios:
            self._per_parameter = statistics.median(ratios)

    def _measured_rates(self, earlier: Iterable[Mapping[str, Any]]) -> dict[str, float]:
        """Return operations per second by kind of block: the median of what is on record for this kind of device."""
        found = defaultdict[str, list[float]](list)
        for line in earlier:
            work, seconds = line.get("work"), line.get("seconds")
            if line.get("device") == self._device and is_amount(work) and is_amount(seconds) and seconds > _OVERHEAD:
                found[str(line.get("kind"))].append(work / (seconds - _OVERHEAD))
        default = _RATES.get(self._device, _RATES["cpu"])
        mixed = found.get("mixed", [default])
        return {kind: statistics.median(found.get(kind, mixed)) for kind in ("attack", "measures")}

    def _work(self, task: Task) -> tuple[float, float]:
        """Return the operations of a block's attacks and of its other measures."""
        forward = self._forward(task.spec)
        if (part := task.part) is not None:
            return forward * (part.stop - part.start) * self._pair(part.measure, part.split).passes, 0.0
        attacks = measures = 0.0
        pgd = set[Split]()
        for name, split in task.pairs:
            pair = self._pair(name, split)
            passes = pair.n * pair.passes
            attacks, measures = (attacks + passes, measures) if pair.is_attack else (attacks, measures + passes)
            if pair.reads_pgd:
                pgd.add(split)
        each = self._options.pgd_steps * (1 + BACKWARD) + 1
        measures += each * sum(n_examples(self._options, self._dataset, split) for split in pgd)
        return forward * attacks, forward * measures

    def _pair(self, name: str, split: Split) -> "_Pair":
        """Return what a pair costs, the same for all models."""
        if (name, split) not in self._pairs:
            item = self._measures[name]
            n, passes = n_attacked(self._options, self._dataset, item, split), 1.0
            shared = isinstance(item, AttackAccuracy) and item.attack.info.examples is not None
            if not shared:  # its images are those that all measures of the block share
                passes = forward_equivalents(item.info.cost, n)
            is_attack = isinstance(item, AttackAccuracy) and not shared
            passes *= _ROBUST + (1 - _ROBUST) * _BROKEN if is_attack else 1.0
            self._pairs[name, split] = _Pair(n, passes, is_attack, "pgd" in item.info.inputs)
        return self._pairs[name, split]

    def _forward(self, spec: ModelSpec) -> float:
        """Return the operations of one forward pass of one image."""
        return self._flops.get(architecture_key(spec)) or self._per_parameter * _parameters(spec)


def _parameters(spec: ModelSpec) -> float:
    """Return about how many parameters a network has, from the size of its file where it is on this machine."""
    if spec.source == "robustbench":
        return _PARAMETERS
    try:
        return max(Path(spec.locator).stat().st_size / _BYTES, 1.0)
    except OSError:
        return _PARAMETERS


def _label(task: Task) -> str:
    """Return the block in words: its attack and examples, or how many measures of which split."""
    if (part := task.part) is not None:
        return f"{part.measure} {part.split} {part.start}-{part.stop}"
    if len(task.pairs) == 1:
        return " ".join(task.pairs[0])
    return f"{len(task.pairs)} measures {' and '.join(sorted({split for _, split in task.pairs}))}".strip()
