"""What is done, missing and failed in a results folder, model by model."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from measurebench.core.records import Record
from measurebench.core.threat import radius_text
from measurebench.store.folder import ResultsFolder, model_key

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


def read_status(folder: str | Path) -> list[ModelStatus]:
    """Return the status of each model and configuration of a results folder, in the order of ids, the latest first.

    Each model counts with its latest weights. Raises BadInputError where the folder is
    no results folder.
    """
    results = ResultsFolder.open(Path(folder))
    records = results.records_by_model()
    mine = [
        (entry, [r for r in records[model_key(entry)] if r.measure != "load"]) for entry in results.configurations()
    ]
    everything = {_pair(record) for _, group in mine for record in group}
    return [_status(entry, group, everything) for entry, group in mine]


def _status(entry: Mapping[str, Any], records: Sequence[Record], everything: set[Pair]) -> ModelStatus:
    failed = _without_value(records, "failed")
    if entry.get("failure"):
        failed.insert(0, Unmeasured("load", "", str(entry["failure"])))
    done = {_pair(record) for record in records}
    return ModelStatus(
        id=str(entry["model_id"]),
        measured=Counter(record.status for record in records)["measured"],
        undefined=tuple(_without_value(records, "undefined")),
        failed=tuple(failed),
        done=tuple(sorted(done)),
        missing=tuple(sorted(everything - done)),
        flagged=tuple(
            Flagged(r.measure, r.split, str(flags)) for r in records if (flags := r.diagnostics.get("flags"))
        ),
        threat=_threat(entry),
        config_digest=str(entry["config_digest"]),
    )


def _threat(entry: Mapping[str, Any]) -> str:
    """Return the threat model as text; empty where the entry has none."""
    radius = entry.get("radius")
    return "" if radius is None else f"{entry.get('norm') or ''} {radius_text(radius)}".strip()


def _without_value(records: Sequence[Record], status: str) -> list[Unmeasured]:
    return [Unmeasured(r.measure, r.split, r.reason) for r in records if r.status == status]


def _pair(record: Record) -> Pair:
    return record.measure, record.split
