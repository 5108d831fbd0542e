"""Plans a run: what is measured on how many examples, and which pairs of model and measure have no record yet."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import get_args

from measurebench.attacks.pgd import PGD
from measurebench.attacks.protocol import Attack
from measurebench.attacks.registry import find_attack, find_attacks
from measurebench.core.config import RunConfig
from measurebench.core.errors import BadInputError
from measurebench.core.info import Examples, Split
from measurebench.core.records import ModelKey, Question, Record, Status, counts_n
from measurebench.core.specs import ModelSpec
from measurebench.core.threat import ThreatModel
from measurebench.datasets import Dataset
from measurebench.engine.options import RunOptions
from measurebench.engine.supplied_images import supplied_attack
from measurebench.measures.registry import Measure, select_measures, with_settings
from measurebench.measures.robustness.accuracy import AttackAccuracy

__all__ = [
    "SPLITS",
    "Pair",
    "Part",
    "Task",
    "check_identities",
    "chosen_attacks",
    "chosen_measures",
    "config_for",
    "n_attacked",
    "n_examples",
    "open_pairs",
    "pairs_of",
    "questions_of",
    "unanswered",
]

SPLITS: tuple[Split, ...] = ("train", "test")
Pair = tuple[str, Split]  # a measure's id and the split it is taken on


@dataclass(frozen=True)
class Part:
    """Examples of a split, from ``start`` to ``stop``, that an attack can search by themselves.

    What it finds lies in files of the results folder, where the block that records the accuracy takes it up.
    """

    measure: str
    split: Split
    start: int
    stop: int


@dataclass(frozen=True)
class Task:
    """A model, or a block of its work: its specification, the digest it had when planned, and the pairs that are open.

    ``supplied`` are the files with adversarial images in place of PGD's, by split. A ``block`` has a name among those
    of its model, and its worker keeps the network for the next of them. ``parts`` are what other workers may do of the
    block's attack beforehand; a block with a ``part`` does that part and has no pairs.
    """

    spec: ModelSpec
    model_digest: str
    config: RunConfig
    pairs: tuple[Pair, ...]
    supplied: Mapping[Split, Path] = field(default_factory=dict)
    block: str = ""
    parts: tuple[Part, ...] = ()
    part: Part | None = None

    @cached_property
    def model_key(self) -> ModelKey:
        """The key of the records of this model under this configuration."""
        return self.spec.id, self.model_digest, self.config.digest()


def chosen_measures(options: RunOptions) -> list[Measure]:
    """Return what a run measures: clean accuracy, the accuracy under each attack, then the measures asked for.

    Without PGD the measures that read PGD examples are left out of ``core`` and ``all``. Raises BadInputError where
    they are asked for by name, for an attack that there is not, and for settings of measures that are not chosen.
    """
    attacks = chosen_attacks(options)
    accuracies = [*select_measures("clean_accuracy"), *(AttackAccuracy(attack) for attack in attacks)]
    asked = [item for item in select_measures(options.measures) if item.info.tier != "accuracy"]
    lacking = set(get_args(Examples)) - {"clean"} - {attack.info.examples for attack in attacks}
    unfit = {item.info.id: kind for item in asked for kind in item.info.inputs if kind in lacking}
    if unfit and options.measures not in ("core", "all"):
        name, kind = next(iter(unfit.items()))
        raise BadInputError("--attacks", f"{kind}, which {name} reads", repr(options.attacks))
    asked = [item for item in asked if item.info.id not in unfit]
    chosen = {item.info.id: item for item in (*accuracies, *asked)}
    if unknown := set(options.measure_settings) - set(chosen):
        raise BadInputError("settings of measures", "measures of this run", repr(min(unknown)))
    return [with_settings(item, dict(options.measure_settings.get(name, {}))) for name, item in chosen.items()]


def chosen_attacks(options: RunOptions) -> list[Attack]:
    """Return the attacks of a run.

    Where adversarial images are supplied, they stand in for PGD. Raises BadInputError for an attack that there is not,
    and where settings given with an attack's name contradict the option that holds for the examples that measures
    share.
    """
    shared = PGD(options.pgd_steps)
    for reference in options.attack_list:
        attack = find_attack(reference, "--attacks")
        if ":" in reference and attack.info.examples and attack != shared:
            raise BadInputError("--attacks", f"settings that agree with pgd_steps = {shared.steps}", repr(reference))
    found = find_attacks(options.attack_list, "--attacks")
    if (supplied := supplied_attack(options.adversarial)) is None:
        return found
    return [supplied, *(attack for attack in found if not attack.info.examples)]


def check_identities(measures: Iterable[Measure], records: Iterable[Record]) -> None:
    """Raise BadInputError where records of a third-party attack's name are of another function.

    The name of a column says no more than the function's name, and two functions in one column would be compared
    as if they were the same attack. Another version of the same function is measured again instead.
    """
    ours = {item.info.id: item.attack.info.reference for item in measures if isinstance(item, AttackAccuracy)}
    for record in records:
        if record.measure not in ours:
            continue
        theirs, mine = (
            str(of).partition("#")[0] for of in (record.diagnostics.get("attack", ""), ours[record.measure])
        )
        if theirs and mine != theirs:  # failed records do not say whose they are
            raise BadInputError(
                "--attacks",
                f"{theirs}, of which this folder has records of {record.measure}",
                mine or "a built-in attack",
                "choose another --out, or another name for the function",
            )


def pairs_of(
    measures: Iterable[Measure], options: RunOptions, splits: Iterable[Split] = SPLITS
) -> list[tuple[Measure, Split]]:
    """Return measures with their splits among ``splits``, the cheap accuracies of both splits first."""
    pairs, present = [], set(splits)
    for item in measures:
        own = item.info.splits if item.info.tier == "accuracy" else options.splits
        pairs += [(item, split) for split in own if split in present and _asked(options, item, split) != 0]
    return sorted(pairs, key=lambda pair: SPLITS.index(pair[1]))


def n_examples(options: RunOptions, dataset: Dataset, split: Split) -> int:
    """Return how many examples of a split a run reads."""
    return min(options.train_examples if split == "train" else options.test_examples, len(dataset.split(split)))


def n_attacked(options: RunOptions, dataset: Dataset, item: Measure, split: Split) -> int:
    """Return how many examples of a split a measure reads: for some attacks fewer than the others."""
    everything, asked = n_examples(options, dataset, split), _asked(options, item, split)
    return everything if asked is None else min(asked, everything)


def _asked(options: RunOptions, item: Measure, split: Split) -> int | None:
    """Return the number of examples asked for, where the measure is of an attack that has one of its own."""
    name = item.attack.info.counted_by if isinstance(item, AttackAccuracy) else ""
    if not name:
        return None
    asked: int | None = getattr(options, f"{name}_train_examples" if split == "train" else f"{name}_examples")
    return asked


def config_for(
    options: RunOptions,
    dataset: Dataset,
    threat: ThreatModel | None,
    digests: Mapping[Split, str],
    adversarial: Mapping[Split, str] | None = None,
) -> RunConfig:
    """Return the configuration under which a model is measured: within ``threat``, or else as the options say.

    ``digests`` are those of the images of each split, ``adversarial`` those of images supplied in place of PGD's.
    """
    return RunConfig(
        dataset=dataset.name,
        train_digest=digests["train"],
        test_digest=digests["test"],
        threat=threat or options.threat_of(None),
        seed=options.seed,
        precision=options.precision,
        pgd_steps=options.pgd_steps,
        measure_settings=options.measure_settings,
        adversarial={str(split): digest for split, digest in (adversarial or {}).items()},
    )


def open_pairs(
    pairs: Iterable[tuple[Measure, Split]],
    records: Iterable[Record],
    options: RunOptions,
    dataset: Dataset,
) -> tuple[Pair, ...]:
    """Return the pairs without a record of the same measure version (and, for accuracies, of as many examples)."""
    questions, found = questions_of(pairs, options, dataset), {record.question: record.status for record in records}
    return unanswered(questions, [found.get(question) for question in questions], options)


def questions_of(pairs: Iterable[tuple[Measure, Split]], options: RunOptions, dataset: Dataset) -> dict[Question, Pair]:
    """Return the pairs by what a record must agree in to answer them; the same for every model of a run."""
    found: dict[Question, Pair] = {}
    for item, split in pairs:
        info = item.info
        n = n_attacked(options, dataset, item, split) if counts_n(info.id) else None
        found[info.id, info.version, split, n] = (info.id, split)
    return found


def unanswered(
    questions: Mapping[Question, Pair], statuses: Sequence[Status | None], options: RunOptions
) -> tuple[Pair, ...]:
    """Return the pairs whose question is not answered; with ``retry_failed`` a failed record is no answer.

    ``statuses`` say of each question how it is answered, None where it is not.
    """
    left = (None, "failed") if options.retry_failed else (None,)
    return tuple(pair for pair, status in zip(questions.values(), statuses, strict=True) if status in left)
