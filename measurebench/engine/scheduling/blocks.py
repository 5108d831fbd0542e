"""Divides the work on a model into blocks that several workers can take: each of minutes, and safe to repeat."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from measurebench.attacks.standard.saving import BLOCK
from measurebench.core.info import Split
from measurebench.datasets import Dataset
from measurebench.engine.options import RunOptions
from measurebench.engine.plan import Pair, Part, Task, chosen_measures, n_attacked
from measurebench.measures.registry import Measure
from measurebench.measures.robustness.accuracy import AttackAccuracy

__all__ = ["blocks_of", "blocks_of_all", "n_units"]

# Predicted work for which another process pays: it takes some seconds to start, and loads the model once more.
WORTH_SECONDS = 60.0


def n_units(tasks: Sequence[Task], blocks: Sequence[Task], costs: Callable[[Task], float]) -> int:
    """Return how many processes the work is worth: at least one for each model, and more where there is much to do."""
    pieces = sum(max(1, len(block.parts)) for block in blocks)
    return max(len(tasks), min(pieces, int(sum(map(costs, blocks)) / WORTH_SECONDS)))


def blocks_of_all(tasks: Sequence[Task], options: RunOptions, dataset: Dataset) -> list[Task]:
    """Return the blocks of several models, in their order."""
    measures = {item.info.id: item for item in chosen_measures(options)}
    return [block for task in tasks for block in blocks_of(task, measures, options, dataset)]


def blocks_of(task: Task, measures: Mapping[str, Measure], options: RunOptions, dataset: Dataset) -> list[Task]:
    """Return the blocks of a model; a model without open pairs, which is only loaded, is one block.

    The measures of a split stay together, since they share gradients and PGD's examples. An attack of its own shares
    nothing and is a block by itself. Its block names the parts that it can be divided into.
    """
    groups: dict[tuple[Split, str], list[Pair]] = {}
    for name, split in task.pairs:
        groups.setdefault((split, name if _stands_alone(measures[name]) else ""), []).append((name, split))
    if not groups:
        return [replace(task, block="load")]
    return [
        replace(
            task,
            pairs=tuple(pairs),
            block=f"{split} {name or 'measures'}",
            parts=_parts(measures[pairs[0][0]], pairs[0], options, dataset),
        )
        for (split, name), pairs in groups.items()
    ]


def _stands_alone(item: Measure) -> bool:
    return isinstance(item, AttackAccuracy) and item.attack.info.examples is None


def _parts(item: Measure, pair: Pair, options: RunOptions, dataset: Dataset) -> tuple[Part, ...]:
    """Return the parts of a divisible attack on more examples than one file of the store holds."""
    if not isinstance(item, AttackAccuracy) or not item.attack.info.divisible:
        return ()
    name, split = pair
    n = n_attacked(options, dataset, item, split)
    # As long as the store's files: a part then writes files that no other part touches.
    return tuple(Part(name, split, start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)) if n > BLOCK else ()
