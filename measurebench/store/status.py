"""What is done, missing and failed in a results folder, model by model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from measurebench.core.records import ModelKey
from measurebench.core.threat import radius_text
from measurebench.store.folder import ResultsFolder, model_key
from measurebench.store.record_set import RecordSet

__all__ = ["Flagged", "ModelStatus", "Unmeasured", "read_status"]

Pair = tuple[str, str]


@dataclass(frozen=True)
class Unmeasured:
    """A measure on a split that has no value, and why; ``load`` without a split where the model cannot be loaded."""

    measure: str
    split: str
    reason: str


@dataclass(frozen=True)
class Flagged:
    """A value with warnings: the attack's ``flags``, separated by semicolons."""

    measure: str
    split: str
    flags: str


@dataclass(frozen=True)
class ModelStatus:
    """How far one model is: the number of values, what has none, and the pairs (measure, split) done and missing.

    ``missing`` are the pairs that other models of the folder have and this one has not. A model that was measured under
    several configurations has one status for each; ``threat`` (such as Linf 8/255) and ``config_digest`` tell them
    apart.
    """

    id: str
    measured: int
    undefined: tuple[Unmeasured, ...]
    failed: tuple[Unmeasured, ...]
    done: tuple[Pair, ...]
    missing: tuple[Pair, ...]
    flagged: tuple[Flagged, ...] = ()
    threat: str = ""
    config_digest: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the status as plain values for JSON."""
        return asdict(self)


def read_status(folder: str | Path | ResultsFolder) -> list[ModelStatus]:
    """Return the status of each model and configuration of a results folder, in the order of ids, the latest first.

    Each model counts with its latest weights. A folder that is open already is not read again, but for what was added.
    Raises BadInputError where the folder is no results folder.
    """
    results = folder if isinstance(folder, ResultsFolder) else ResultsFolder.open(Path(folder))
    records, entries = results.records_by_model(), results.configurations()
    done = [_Done.of(records, model_key(entry)) for entry in entries]
    everything = frozenset[Pair]().union(*{each.pairs for each in done})
    missing = {pairs: tuple(sorted(everything - set(pairs))) for pairs in {each.pairs for each in done}}
    return [_status(entry, each, missing[each.pairs]) for entry, each in zip(entries, done, strict=True)]


@dataclass
class _Done:
    """What is on record of one model: its pairs, sorted, the number of values, and what is to be told of others."""

    pairs: tuple[Pair, ...]
    measured: int
    without_value: list[tuple[str, Unmeasured]]
    flagged: list[Flagged]

    @classmethod
    def of(cls, records: RecordSet, key: ModelKey) -> "_Done":
        names = ("measure", "split", "status", "reason", "diagnostics")
        columns = records.columns(key, *names)
        if "load" in columns[0]:
            columns = [
                list(column)
                for column in zip(*(row for row in zip(*columns, strict=True) if row[0] != "load"), strict=True)
            ]
            columns = columns or [[] for _ in names]
        measures, splits, statuses, reasons, told = columns
        rows = zip(measures, splits, statuses, reasons, strict=True)
        lacking = [(row[2], Unmeasured(row[0], row[1], row[3])) for row in rows if row[2] != "measured"]
        warned = zip(measures, splits, told, strict=True)
        flagged = [Flagged(measure, split, str(each["flags"])) for measure, split, each in warned if each.get("flags")]
        pairs = set(zip(measures, splits, strict=True))
        return cls(tuple(sorted(pairs)), statuses.count("measured"), lacking, flagged)


def _status(entry: Mapping[str, Any], done: _Done, missing: tuple[Pair, ...]) -> ModelStatus:
    failed = [item for status, item in done.without_value if status == "failed"]
    if entry.get("failure"):
        failed.insert(0, Unmeasured("load", "", str(entry["failure"])))
    return ModelStatus(
        id=str(entry["model_id"]),
        measured=done.measured,
        undefined=tuple(item for status, item in done.without_value if status == "undefined"),
        failed=tuple(failed),
        done=done.pairs,
        missing=missing,
        flagged=tuple(done.flagged),
        threat=_threat(entry),
        config_digest=str(entry["config_digest"]),
    )


def _threat(entry: Mapping[str, Any]) -> str:
    """Return the threat model as text; empty where the entry has none."""
    radius = entry.get("radius")
    return "" if radius is None else f"{entry.get('norm') or ''} {radius_text(radius)}".strip()
