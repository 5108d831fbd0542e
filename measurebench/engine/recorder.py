"""Writes what happens in a run to its results folder, and tells whoever watches."""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError
from measurebench.core.packages import own_version
from measurebench.core.records import Record
from measurebench.core.specs import ModelSpec
from measurebench.engine.events import BlockTime, Event
from measurebench.engine.options import RunOptions
from measurebench.engine.plan import Task
from measurebench.engine.scheduling.costs import CostModel
from measurebench.engine.watching import Progress
from measurebench.models.identity import code_sha256
from measurebench.store.folder import ResultsFolder
from measurebench.store.predictions import predictions

__all__ = ["Recorder"]

_Key = tuple[str, str]  # a model's id and the digest of its configuration


class Recorder:
    """Writes the events of a run; no other object of the process writes to the folder.

    Blocks of one model may come from several workers. Each of them loads the model and says so, but it is told and
    written once. ``known_loads`` are the failed loads on record, by key and reason.
    """

    def __init__(
        self, folder: ResultsFolder, known_loads: set[tuple[Any, str]], costs: CostModel, progress: Progress
    ) -> None:
        self.folder, self.known_loads, self.costs, self.progress = folder, known_loads, costs, progress
        self.owns: Callable[[Record], bool] = lambda _: True  # whether a record is ours, in a folder that is shared
        self.n_recorded = 0
        self.unloadable: list[_Key] = []
        self._open: defaultdict[str, set[tuple[str, str, str]]] = defaultdict(set)
        self._told: set[tuple[str, str]] = set()
        self._times: list[dict[str, float]] = []  # predicted and real seconds of the blocks of this run
        self._written: set[str] = set()
        self._entries: dict[_Key, Mapping[str, Any]] = {}

    def begin(
        self,
        tasks: Sequence[Task],
        models: Sequence[ModelSpec],
        options: RunOptions,
        command: Sequence[str],
        n_done: int,
    ) -> None:
        """Note the command and tell what is planned."""
        open_pairs = Counter[str]()
        for task in tasks:
            open_pairs[task.spec.id] += len(task.pairs)
            self._open[task.spec.id] |= {(task.config.digest(), *pair) for pair in task.pairs}
        self.progress.planned(len(models), open_pairs, n_done)
        self.folder.runs.append(_run_entry(models, options, command))

    def take(self, event: Event) -> None:
        """Write an event, or pass it on to whoever watches."""
        value, folder = event.value, self.folder
        if event.kind == "record":
            self._take_record(value)
        elif event.kind == "model":
            self._take_entry(value)
        elif event.kind in ("environment", "config") and value["digest"] not in self._written:
            folder.add_once(
                folder.environments if event.kind == "environment" else folder.configs, value["digest"], value
            )
            self._written.add(value["digest"])
        elif event.kind == "block":
            self._take_block(value)
        elif event.kind == "worker" and hasattr(self.progress, "worker"):  # not every watcher shows workers
            self.progress.worker(value)
        elif event.kind == "started":
            self._tell("started", value)
        elif event.kind == "finished" and not self._open[value]:
            self._tell("finished", value)

    def _take_block(self, time: BlockTime) -> None:
        cost = self.costs.compared(time)
        self.folder.add_cost(cost.to_json())
        self._times.append({"predicted": cost.predicted, "seconds": cost.seconds})

    def end(self) -> None:
        """Log how well the blocks of this run were predicted."""
        if found := predictions(self._times):
            told = {"ratio": round(found.ratio, 3), "factor_90": round(found.factor_90, 3)}
            self.folder.log.write("predictions", n_blocks=found.n_blocks, **told)

    def _take_record(self, record: Record) -> None:
        key = record.model_id, record.config_digest
        if not self.owns(record):
            return  # this process slept so long that another has taken the block over
        if record.measure == "load" and self._is_loaded(key):
            return  # one worker of several could not load it: what it was to measure stays open
        # A model that cannot be loaded is tried in every run; the same failure is written once.
        if (record.key, record.reason) not in self.known_loads:
            self.folder.add_record(record)
            self.n_recorded += 1
        if record.measure == "load":
            self.known_loads.add((record.key, record.reason))
            self.unloadable.append(key)
        self._settle(record)

    def heard(self, line: Mapping[str, Any]) -> None:
        """Tell whoever watches of a record that another process wrote, if it belongs to this run."""
        with suppress(BadInputError):  # a line of a newer version, say: readers will tell
            record = Record.from_json(line, "a record of another process")
            if record.model_id in self._open:
                self._settle(record)

    def _settle(self, record: Record) -> None:
        """Tell of a record, and of its model when nothing of it is left."""
        self.progress.recorded(record)
        pairs = self._open[record.model_id]
        if record.measure == "load":
            pairs -= {pair for pair in pairs if pair[0] == record.config_digest}
        pairs.discard((record.config_digest, record.measure, record.split))
        if not pairs:
            self._tell("finished", record.model_id)

    def _take_entry(self, entry: Mapping[str, Any]) -> None:
        key = entry["model_id"], entry["config_digest"]
        if self._entries.get(key) == entry or (entry["failure"] and self._is_loaded(key)):
            return
        self.folder.add_model(entry)
        self._entries[key] = entry

    def _is_loaded(self, key: _Key) -> bool:
        return key in self._entries and not self._entries[key]["failure"]

    def _tell(self, what: str, model_id: str) -> None:
        """Tell once that a model is started or finished."""
        if (what, model_id) not in self._told:
            self._told.add((what, model_id))
            getattr(self.progress, what)(model_id)


def _run_entry(models: Sequence[ModelSpec], options: RunOptions, command: Sequence[str]) -> dict[str, Any]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "command": list(command) or [Path(sys.argv[0]).name, *sys.argv[1:]],
        "models": [spec.reference or spec.id for spec in models],
        "measures": options.measures,
        "attacks": options.attacks,
        "code": _code_entries(models),
        "trust_code": options.trust_code,
        "version": own_version(),
    }


def _code_entries(models: Sequence[ModelSpec]) -> list[dict[str, str | None]]:
    """Return the code outside measurebench that builds networks: its name, its file's hash, and who named it."""
    found = {}
    for spec in models:
        if ":" in (name := spec.architecture or "") and (spec.manifest, name) not in found:
            found[spec.manifest, name] = {"name": name, "sha256": code_sha256(spec), "named_by": spec.manifest}
    return list(found.values())
