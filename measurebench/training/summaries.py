"""Reads and checks the summaries of training runs, ``runs/NAME.json``: settings, status and results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError
from measurebench.core.reading import parse_json

__all__ = ["read_summaries", "read_training_summary"]

# What every summary holds, and what that of a finished run holds for each checkpoint.
_FIELDS: dict[str, type] = {"run": str, "status": str, "identity": str, "dataset": str, "settings": dict, "axes": list}
_FINISHED: dict[str, type] = {"checkpoints": dict, "n_classes": int, "in_channels": int}
_CHECKPOINT: dict[str, type | tuple[type, ...]] = {"sha256": str, "clean_accuracy_test": (int, float)}
_WORDS = {str: "text", dict: "an object", list: "a list", int: "a whole number"}
_HINT = "remove the file to train this run again"


def read_training_summary(path: Path) -> dict[str, Any]:
    """Return the summary of one training run.

    Raises BadInputError, which names the file and the field, for a file that is no JSON object with the fields of a
    summary.
    """
    value = parse_json(path, "the summary of a training run", _HINT)
    if not isinstance(value, dict):
        raise BadInputError(str(path), "the summary of a training run", type(value).__name__, _HINT)
    _check(value, _FIELDS, str(path))
    if not all(isinstance(name, str) for name in value["axes"]):
        raise BadInputError(f"{path}: axes", "a list of names", repr(value["axes"])[:80], _HINT)
    if value["status"] == "finished":
        _check(value, _FINISHED, str(path))
        for name, kept in value["checkpoints"].items():
            where = f"{path}: checkpoints: {name}"
            if name not in ("last", "best") or not isinstance(kept, dict):
                raise BadInputError(where, "an object for last or best", repr(kept)[:80], _HINT)
            _check(kept, _CHECKPOINT, where)
    return value


def read_summaries(folder: Path) -> list[dict[str, Any]]:
    """Return the summaries of all runs of a training folder, in the order of their names."""
    return [read_training_summary(path) for path in sorted((folder / "runs").glob("*.json"))]


def _check(value: Mapping[str, Any], kinds: Mapping[str, Any], where: str) -> None:
    """Raise BadInputError unless the fields are there in their types; truth values are no numbers."""
    for name, kind in kinds.items():
        if name not in value:
            raise BadInputError(where, f"the field {name!r}", "a summary without it", _HINT)
        if not isinstance(value[name], kind) or isinstance(value[name], bool):
            raise BadInputError(f"{where}: {name}", _WORDS.get(kind, "a number"), repr(value[name])[:80], _HINT)
