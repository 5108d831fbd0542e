"""What is to be done: the pairs of model and measure that have no record yet."""

from collections.abc import Iterable
from dataclasses import dataclass

from measurebench.attacks.plugin import load_attack
from measurebench.core.config import RunConfig
from measurebench.core.errors import BadInputError
from measurebench.core.info import Split
from measurebench.core.records import Record, counts_n
from measurebench.core.specs import ModelSpec
from measurebench.core.threat import ThreatModel
from measurebench.datasets import Dataset
from measurebench.engine.options import RunOptions
from measurebench.measures.registry import Measure, select_measures, with_settings
from measurebench.measures.robustness.accuracy import AttackAccuracy

__all__ = [
    "SPLITS",
    "Pair",
    "Task",
    "chosen_measures",
    "config_for",
    "n_autoattack",
    "n_examples",
    "open_pairs",
    "pairs_of",
]

SPLITS: tuple[Split, ...] = ("train", "test")
Pair = tuple[str, Split]  # a measure's id and the split it is taken on


@dataclass(frozen=True)
class Task:
    """One model: its specification, the digest it had when planned, and what was found done or failed."""

    spec: ModelSpec
    model_digest: str
    config: RunConfig
    pairs: tuple[Pair, ...]


def chosen_measures(options: RunOptions) -> list[Measure]:
    """Return what a run measures: clean accuracy, the accuracy under each attack, then the measures asked for.

    Without PGD the measures that read PGD examples are left out of ``core`` and ``all``; asked for by name they
    are an error.
    """
    attacks = options.attack_list
    for attack in attacks:
        if attack not in ("pgd", "autoattack"):
            load_attack(attack)
    accuracies = [*select_measures("clean_accuracy"), *(AttackAccuracy(attack) for attack in attacks)]
    asked = [item for item in select_measures(options.measures) if item.info.tier != "accuracy"]
    unfit = [item.info.id for item in asked if "pgd" in item.info.inputs and "pgd" not in attacks]
    if unfit and options.measures not in ("core", "all"):
        raise BadInputError("--attacks", f"pgd, which {unfit[0]} reads", repr(options.attacks))
    asked = [item for item in asked if item.info.id not in unfit]
    chosen = {item.info.id: item for item in (*accuracies, *asked)}
    if unknown := set(options.measure_settings) - set(chosen):
        raise BadInputError("settings of measures", "measures of this run", repr(min(unknown)))
    return [with_settings(item, dict(options.measure_settings.get(name, {}))) for name, item in chosen.items()]


def pairs_of(measures: Iterable[Measure], options: RunOptions) -> list[tuple[Measure, Split]]:
    """Return measures with their splits, the cheap accuracies of both splits first."""
    pairs = []
    for item in measures:
        splits = item.info.splits if item.info.tier == "accuracy" else options.splits
        if item.info.id == "autoattack_accuracy":
            splits = ("train", "test") if options.autoattack_train_examples else ("test",)
        pairs += [(item, split) for split in splits]
    return sorted(pairs, key=lambda pair: SPLITS.index(pair[1]))


def n_examples(options: RunOptions, dataset: Dataset, split: Split) -> int:
    """Return how many examples of a split a run reads."""
    return min(options.train_examples if split == "train" else options.test_examples, len(dataset.split(split)))


def n_autoattack(options: RunOptions, dataset: Dataset, split: Split) -> int:
    """Return how many examples of a split AutoAttack takes."""
    everything = n_examples(options, dataset, split)
    asked = options.autoattack_train_examples if split == "train" else options.autoattack_examples
    return everything if asked is None else min(asked, everything)


def config_for(
    options: RunOptions, dataset: Dataset, threat: ThreatModel | None, digests: dict[Split, str]
) -> RunConfig:
    """Return the configuration under which a model with this threat model of its own is measured."""
    return RunConfig(
        dataset=dataset.name,
        train_digest=digests["train"],
        test_digest=digests["test"],
        threat=options.threat_of(threat),
        seed=options.seed,
        precision=options.precision,
        pgd_steps=options.pgd_steps,
        measure_settings=options.measure_settings,
    )


def open_pairs(
    pairs: Iterable[tuple[Measure, Split]],
    records: Iterable[Record],
    options: RunOptions,
    dataset: Dataset,
) -> tuple[tuple[str, Split], ...]:
    """Return the pairs without a record of the same measure version (and of as many AutoAttack examples)."""
    done = {
        (
            record.measure,
            record.measure_version,
            record.split,
            record.n if counts_n(record.measure) else None,
        )
        for record in records
        if not (options.retry_failed and record.status == "failed")
    }
    return tuple(
        (item.info.id, split)
        for item, split in pairs
        if (
            item.info.id,
            item.info.version,
            split,
            n_autoattack(options, dataset, split) if counts_n(item.info.id) else None,
        )
        not in done
    )
