"""Run: plan, measure, record after every measure, and resume without being told."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from measurebench.compute.devices import choose_device, n_workers
from measurebench.core.errors import BadInputError
from measurebench.core.info import MeasureInfo, Split
from measurebench.core.origins import Origin
from measurebench.core.records import Record
from measurebench.core.specs import ModelSpec
from measurebench.datasets import Dataset, load_dataset
from measurebench.engine.environment import package_version
from measurebench.engine.model_run import Event, measure_model, spec_entry
from measurebench.engine.options import RunOptions
from measurebench.engine.origins import of_this_code
from measurebench.engine.plan import Task, chosen_measures, config_for, n_examples, open_pairs, pairs_of
from measurebench.engine.workers import measure_in_workers
from measurebench.measures.registry import origin_of_measure
from measurebench.models.identity import model_digest
from measurebench.store.folder import ResultsFolder, model_key
from measurebench.store.infos import add_infos

__all__ = ["Progress", "Quiet", "RunSummary", "run"]


class Progress(Protocol):
    """Told of what is planned and of every record."""

    def planned(self, n_models: int, n_open: int, n_done: int) -> None:
        """Take note of the number of models, of open pairs and of pairs that have records."""
        ...

    def started(self, model_id: str) -> None:
        """Take note that a model is being loaded."""
        ...

    def recorded(self, record: Record) -> None:
        """Take note of a record."""
        ...

    def finished(self, model_id: str) -> None:
        """Take note that all of a model's measures have their records."""
        ...


class Quiet:
    """Progress for nobody."""

    def planned(self, n_models: int, n_open: int, n_done: int) -> None:
        """Say nothing."""

    def started(self, model_id: str) -> None:
        """Say nothing."""

    def recorded(self, record: Record) -> None:
        """Say nothing."""

    def finished(self, model_id: str) -> None:
        """Say nothing."""


@dataclass
class RunSummary:
    """What a run did: ``n_models`` asked for, records made now, those there before, and failures with reasons."""

    out: Path
    n_models: int = 0
    n_recorded: int = 0
    n_resumed: int = 0
    seconds: float = 0.0
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        """0 when all is measured, 1 when something failed, 2 when no model could be used at all."""
        if self.n_models and len(self.unusable) == self.n_models:
            return 2
        return 1 if self.failures else 0


def run(
    models: Sequence[ModelSpec],
    options: RunOptions,
    out: str | Path,
    *,
    workers: int | Literal["auto"] = "auto",
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> RunSummary:
    """Measure models on a dataset and record every value under ``out``; what has a record is not measured again.

    ``workers`` processes measure models side by side, with the same numbers as one. ``command`` is the command line,
    for provenance. Raises BadInputError for what can be known to be wrong before anything is measured.
    """
    start = time.perf_counter()
    watcher = progress or Quiet()
    dataset = _images(options)
    chosen_measures(options)
    if not models:
        raise BadInputError("models", "at least one", "none")
    with ResultsFolder.writing(Path(out), package_version()) as folder:
        tasks, summary = _plan(models, options, dataset, folder)
        watcher.planned(len(models), sum(len(task.pairs) for task in tasks), summary.n_resumed)
        folder.runs.append(_run_entry(models, options, command))
        add_infos(folder.path, _third_party_infos(options))
        for event in _events(tasks, options, dataset, folder.path, n_workers(workers, options.device, len(tasks))):
            _take(event, folder, summary, watcher)
        _collect_failures(models, folder, summary)
    summary.seconds = time.perf_counter() - start
    return summary


def _third_party_infos(options: RunOptions) -> list[tuple[MeasureInfo, Origin]]:
    """Return what the third-party measures of a run say of themselves, for pages made without their package."""
    found = [(item.info, origin_of_measure(item)) for item in chosen_measures(options)]
    return [(info, origin) for info, origin in found if not origin.is_built_in]


def _images(options: RunOptions) -> Dataset:
    """Load what a run reads of its dataset, and nothing else: every worker is sent a copy."""
    whole = load_dataset(options.dataset, options.data_dir, offline=options.offline)
    return whole.reduced(n_examples(options, whole, "train"), n_examples(options, whole, "test"))


def _plan(
    models: Sequence[ModelSpec], options: RunOptions, dataset: Dataset, folder: ResultsFolder
) -> tuple[list[Task], RunSummary]:
    """Return a task for each model with open pairs, and note models that are done in the catalogue."""
    digests: dict[Split, str] = {
        split: dataset.split(split).first(n_examples(options, dataset, split)).digest() for split in ("train", "test")
    }
    pairs = pairs_of(chosen_measures(options), options)
    records, catalogue = folder.records_by_model(), folder.catalogue()
    entries = folder.models.read()
    summary, tasks = RunSummary(folder.path, n_models=len(models)), []
    for spec in models:
        config = config_for(options, dataset, spec.threat_model, digests)
        task = Task(spec, model_digest(spec), config, ())
        found = of_this_code(records[spec.id, task.model_digest, config.digest()], [item for item, _ in pairs])
        open_now = open_pairs(pairs, found, options, dataset)
        summary.n_resumed += len(pairs) - len(open_now)
        if open_now:
            tasks.append(replace(task, pairs=open_now))
        elif catalogue.get(spec.id, {}).get("config_digest") != config.digest():
            _restore(spec.id, task, folder, entries)
    return tasks, summary


def _restore(model_id: str, task: Task, folder: ResultsFolder, entries: Sequence[Mapping[str, Any]]) -> None:
    """Put the model's earlier entry for this configuration in force again."""
    wanted = (model_id, task.config.digest())
    matching = [entry for entry in entries if (entry["model_id"], entry["config_digest"]) == wanted]
    folder.add_model(matching[-1] if matching else spec_entry(task, task.spec, None))


def _events(tasks: Sequence[Task], options: RunOptions, dataset: Dataset, out: Path, workers: int) -> Iterator[Event]:
    if workers > 1 or choose_device(options.device) != "cpu":  # a GPU's errors can cost the process
        yield from measure_in_workers(tasks, options, dataset, out, workers)
        return
    for task in tasks:
        yield from measure_model(task, options, dataset, out)


def _take(event: Event, folder: ResultsFolder, summary: RunSummary, progress: Progress) -> None:
    """Write an event to the folder; this process alone does so."""
    if event.kind == "record":
        _take_record(event.value, folder, summary, progress)
    elif event.kind == "model":
        folder.add_model(event.value)
    elif event.kind == "environment":
        folder.add_once(folder.environments, event.value["digest"], event.value)
    elif event.kind == "config":
        folder.add_once(folder.configs, event.value["digest"], event.value)
    elif event.kind == "started":
        progress.started(event.value)
    elif event.kind == "finished":
        progress.finished(event.value)


def _take_record(record: Record, folder: ResultsFolder, summary: RunSummary, progress: Progress) -> None:
    known = folder.records() if record.measure == "load" else []
    if not any(old.key == record.key and old.reason == record.reason for old in known):
        folder.add_record(record)
        summary.n_recorded += 1
    progress.recorded(record)


def _collect_failures(models: Sequence[ModelSpec], folder: ResultsFolder, summary: RunSummary) -> None:
    """Gather what failed among the models asked for, now or in an earlier run."""
    catalogue, records = folder.catalogue(), folder.records_by_model()
    for spec in models:
        entry = catalogue.get(spec.id)
        if entry is None:
            continue
        if entry.get("failure"):
            summary.failures.append((spec.id, "load", str(entry["failure"])))
            summary.unusable.append(spec.id)
            continue
        summary.failures += [
            (record.model_id, record.measure, record.reason)
            for record in records[model_key(entry)]
            if record.status == "failed"
        ]


def _run_entry(models: Sequence[ModelSpec], options: RunOptions, command: Sequence[str]) -> dict[str, Any]:
    from datetime import UTC, datetime

    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "command": list(command) or [Path(sys.argv[0]).name, *sys.argv[1:]],
        "models": [spec.reference or spec.id for spec in models],
        "measures": options.measures,
        "attacks": options.attacks,
        "version": package_version(),
    }
