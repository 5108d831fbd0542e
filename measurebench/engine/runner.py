"""Runs: plan what is open, measure it, write a record after every measure, and resume where an earlier run stopped."""

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from measurebench.compute.devices import n_workers
from measurebench.core.config import RunConfig
from measurebench.core.digests import digest_array
from measurebench.core.errors import BadInputError
from measurebench.core.info import MeasureInfo, Split
from measurebench.core.origins import Origin
from measurebench.core.packages import own_version
from measurebench.core.records import ModelKey, Question
from measurebench.core.specs import ModelSpec
from measurebench.core.threat import ThreatModel
from measurebench.core.trust import demand_word
from measurebench.datasets import Dataset, load_dataset
from measurebench.engine.executors import measure_queue
from measurebench.engine.measure_code import origins_of
from measurebench.engine.model_run import forget_model
from measurebench.engine.on_record import OnRecord
from measurebench.engine.options import RunOptions
from measurebench.engine.plan import (
    SPLITS,
    Pair,
    Task,
    check_identities,
    chosen_measures,
    config_for,
    n_attacked,
    n_examples,
    pairs_of,
    questions_of,
    unanswered,
)
from measurebench.engine.recorder import Recorder
from measurebench.engine.saved_images import SavedImages
from measurebench.engine.scheduling.blocks import blocks_of_all, n_units
from measurebench.engine.scheduling.costs import CostModel
from measurebench.engine.scheduling.queue import BlockQueue
from measurebench.engine.scheduling.shared_queue import SharedQueue
from measurebench.engine.subset import chosen_examples
from measurebench.engine.supplied_images import aligned, check_splits, supplied_attack, supplied_to
from measurebench.engine.tracking import tracked
from measurebench.engine.watching import Progress, Quiet
from measurebench.measures.registry import Measure, origin_of_measure
from measurebench.models.identity import identified, model_digest, named_code
from measurebench.store.folder import ResultsFolder, model_key
from measurebench.store.following import RecordFollower
from measurebench.store.recorded_infos import add_infos
from measurebench.store.run_plan import write_plan

__all__ = ["Progress", "Quiet", "RunSummary", "run"]


@dataclass
class RunSummary:
    """What a run did.

    ``n_models`` were asked for; ``n_recorded`` records were made now and ``n_resumed`` were there before. ``failures``
    are (model id, measure, reason), of this run and of earlier ones; ``unusable`` are the models that cannot be loaded.
    """

    out: Path
    n_models: int = 0
    n_recorded: int = 0
    n_resumed: int = 0
    seconds: float = 0.0
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        """0 when all is measured, 1 when something failed, 2 when no model at all could be used."""
        if self.n_models and len(self.unusable) == self.n_models:
            return 2
        return 1 if self.failures else 0


def run(
    models: Sequence[ModelSpec],
    options: RunOptions,
    out: str | Path,
    *,
    images: Dataset | None = None,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> RunSummary:
    """Measure models and write every value under ``out``; a pair that has a record is not measured again.

    ``images`` are a data set in memory, where ``options.dataset`` is its name and not one that can be loaded.
    ``progress`` hears what happens. ``command`` is the command line, kept as provenance. The number of workers changes
    no value. Raises BadInputError, before anything is measured, for options that cannot be met; MeasurebenchError
    where worker processes cannot start.
    """
    start = time.perf_counter()
    options, dataset = _images(options, images)
    _check_training_images(options, dataset)
    if not models:
        raise BadInputError("models", "at least one", "none")
    demand_word(named_code(models), options.trust_code)
    progress = tracked(progress or Quiet(), options, Path(out))
    opened = ResultsFolder.sharing if options.shared else ResultsFolder.writing
    with opened(Path(out), own_version()) as folder, folder.log.run(command or sys.argv, len(models)):
        # Before the plan: what others record from now on is not part of it.
        others = RecordFollower(folder) if options.shared else None
        plan = _plan(models, options, dataset, folder)
        write_plan(folder.path, plan.planned, plan.questions)
        costs = CostModel(options, dataset, plan.entries, folder.costs.read())
        recorder = Recorder(folder, plan.known_loads, costs, progress)
        recorder.begin(plan.tasks, models, options, command, plan.summary.n_resumed)
        add_infos(folder.path, _third_party_infos(options), folder.writer)
        try:
            _measure(plan.tasks, options, dataset, recorder, others)
        finally:
            recorder.end()
        plan.summary.n_recorded = recorder.n_recorded
        _collect_failures(plan, folder)
    plan.summary.seconds = time.perf_counter() - start
    return plan.summary


@dataclass
class _Plan:
    """Models with open pairs, what is known already, and the failed loads on record (key and reason).

    ``planned`` are all models of the run with the digests of their configurations, ``questions`` what is asked of each,
    ``entries`` those of the catalogue.
    """

    summary: RunSummary
    tasks: list[Task] = field(default_factory=list)
    known_loads: set[tuple[Any, str]] = field(default_factory=set)
    planned: list[tuple[str, str]] = field(default_factory=list)
    entries: list[Mapping[str, Any]] = field(default_factory=list)
    questions: tuple[Question, ...] = ()


def _third_party_infos(options: RunOptions) -> list[tuple[MeasureInfo, Origin]]:
    """Return what the third-party measures of a run say of themselves, for pages made without their package."""
    found = [(item.info, origin_of_measure(item)) for item in chosen_measures(options)]
    return [(info, origin) for info, origin in found if not origin.is_built_in]


def _images(options: RunOptions, given: Dataset | None) -> tuple[RunOptions, Dataset]:
    """Load the images that a run reads and no others, since every worker gets a copy.

    Returned with options that ask for all of those that a file names.
    """
    loaded = given
    if loaded is None:
        loaded = load_dataset(options.dataset, options.data_dir, offline=options.offline, classes=options.classes)
    options, whole = chosen_examples(options, loaded)
    return options, whole.reduced(n_examples(options, whole, "train"), n_examples(options, whole, "test"))


def _check_training_images(options: RunOptions, dataset: Dataset) -> None:
    """Raise BadInputError where measures read training images and there are none."""
    if "train" in options.splits and any(item.info.tier != "accuracy" for item in chosen_measures(options)):
        dataset.needs_training_images("for the measures", "--split test measures on the test images")


def _plan(models: Sequence[ModelSpec], options: RunOptions, dataset: Dataset, folder: ResultsFolder) -> _Plan:
    """Return a task for each model with open pairs, and note models that are done in the catalogue."""
    digests: dict[Split, str] = {
        split: dataset.split(split).first(n_examples(options, dataset, split)).digest() for split in ("train", "test")
    }
    measures = chosen_measures(options)
    pairs = pairs_of(measures, options, [split for split in SPLITS if len(dataset.split(split))])
    if (supplied := supplied_attack(options.adversarial)) is not None:
        check_splits(supplied, pairs)
    questions, records = questions_of(pairs, options, dataset), folder.records_by_model()
    on_record = OnRecord(records, questions, origins_of(item for item, _ in pairs), folder.path)
    configs = {str(line.get("digest")) for line in folder.configs.read()}
    accuracies = {item.info.id for item in measures if item.info.tier == "accuracy"}
    check_identities(measures, records.of_measures(accuracies, "attack"))
    entries: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    catalogue = folder.entries()
    for line in catalogue:
        entries[line["model_id"]].append(line)
    plan = _Plan(
        RunSummary(folder.path, n_models=len(models)),
        known_loads={(record.key, record.reason) for record in records.of_measures({"load"})},
        entries=catalogue,
        questions=tuple(questions),
    )
    config_of = cache(lambda threat, shown: config_for(options, dataset, threat, digests, dict(shown)))
    done: list[tuple[Task, Mapping[str, Any]]] = []
    for spec, threat in ((model, threat) for model in models for threat in options.threats_of(model.threat_model)):
        task = _task(spec, threat, options, dataset, config_of)
        config = task.config
        plan.planned.append((spec.id, config.digest()))
        statuses = on_record.statuses(task)
        open_now = unanswered(questions, statuses, options)
        if options.save_adversarial:
            kept = {pair for pair, status in zip(questions.values(), statuses, strict=True) if status != "failed"}
            open_now = _with_unsaved(open_now, task, pairs, kept, options, dataset, folder.path)
        plan.summary.n_resumed += len(pairs) - len(open_now)
        if config.digest() not in configs:
            folder.add_once(folder.configs, config.digest(), config.to_json())
            configs.add(config.digest())
        # A model without an entry is loaded again, since an entry says what only the loaded network knows.
        if open_now or not (entry := _entry(task, entries[spec.id])):
            plan.tasks.append(replace(task, pairs=open_now))
        else:
            done.append((task, entry))
    keys = {task.model_key for task in (*(task for task, _ in done), *plan.tasks)}
    for task, entry in done:
        if not _in_force(entry, entries[task.spec.id], keys):
            folder.add_model(entry)
    return plan


def _entry(task: Task, entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the latest of a model's entries for these weights and this configuration, or None."""
    matching = [entry for entry in entries if model_key(entry) == task.model_key and not entry.get("failure")]
    return matching[-1] if matching else None


def _in_force(entry: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], asked: Set[ModelKey]) -> bool:
    """Say whether an entry is the latest of its model and threat model, and the model's latest is of this run.

    The latest entries are those that tables and pages show, so an earlier one comes back into force by being added
    again. One run may ask for several threat models of a model: their entries are in force together.
    """
    threat = entry.get("norm"), entry.get("radius")
    same = [other for other in entries if (other.get("norm"), other.get("radius")) == threat]
    return same[-1] == entry and model_key(entries[-1]) in asked


def _task(
    spec: ModelSpec,
    threat: ThreatModel,
    options: RunOptions,
    dataset: Dataset,
    config_of: Callable[[ThreatModel, tuple[tuple[Split, str], ...]], RunConfig],
) -> Task:
    """Return the task of a model, without pairs, with the adversarial images that are supplied for it.

    ``config_of`` returns the configuration for a threat model and the digests of supplied images by split: one object
    for all models that share it, since its own digest takes time.
    """
    digest = model_digest(spec)
    # The weights of a model that was never downloaded are not known yet; the files are tried again when they are.
    known = digest if spec.source != "robustbench" or identified(spec).file_sha256 else ""
    files = supplied_to(options.adversarial, spec.id, known)
    shown = [(split, digest_array(aligned(file, dataset.split(split), threat))) for split, file in files.items()]
    return Task(spec, digest, config_of(threat, tuple(shown)), (), {split: file.path for split, file in files.items()})


def _with_unsaved(
    open_now: tuple[Pair, ...],
    task: Task,
    pairs: Sequence[tuple[Measure, Split]],
    kept: Set[Pair],
    options: RunOptions,
    dataset: Dataset,
    out: Path,
) -> tuple[Pair, ...]:
    """Return the open pairs together with attacks whose adversarial images are not all there.

    ``kept`` are the pairs without a failed record.
    """
    saved = SavedImages(out, task.spec.id, task.model_digest, task.config)
    return tuple(
        (item.info.id, split)
        for item, split in pairs
        if (item.info.id, split) in open_now
        or (
            (item.info.id, split) in kept
            and saved.lacks(item, split, dataset.split(split).first(n_attacked(options, dataset, item, split)))
        )
    )


def _measure(
    tasks: Sequence[Task], options: RunOptions, dataset: Dataset, recorder: Recorder, others: RecordFollower | None
) -> None:
    """Measure all tasks, in as many processes as they are worth."""
    costs, folder, blocks = recorder.costs, recorder.folder, blocks_of_all(tasks, options, dataset)
    units = n_units(tasks, blocks, costs.seconds)
    # A cluster says how many workers it has when they ask for blocks.
    workers = n_workers(options.workers, options.device, units) if options.executor == "local" else 2
    queue = BlockQueue(blocks, costs.seconds, workers=workers) if workers > 1 else BlockQueue(tasks)
    if folder.claims is not None and others is not None:
        queue = SharedQueue(blocks, costs.seconds, folder.claims, others, workers=workers, heard=recorder.heard)
        recorder.owns = queue.owns
    try:
        for event in measure_queue(queue, units, options, dataset, folder.path):
            recorder.take(event)
            while recorder.unloadable:
                queue.drop(*recorder.unloadable.pop())
    finally:
        forget_model()  # a single worker is this process, which may go on


def _collect_failures(plan: _Plan, folder: ResultsFolder) -> None:
    """Add to the summary what failed for these models, now or in an earlier run."""
    summary, records = plan.summary, folder.records_by_model()
    entries = {(entry["model_id"], entry["config_digest"]): entry for entry in folder.configurations()}
    for model_id, config_digest in plan.planned:
        entry = entries.get((model_id, config_digest))
        if entry is None:
            continue
        if entry.get("failure"):
            summary.failures.append((model_id, "load", str(entry["failure"])))
            if model_id not in summary.unusable:
                summary.unusable.append(model_id)
            continue
        columns = records.columns(model_key(entry), "measure", "reason", "status")
        summary.failures += [
            (model_id, measure, reason) for measure, reason, status in zip(*columns, strict=True) if status == "failed"
        ]
