"""Reads and checks the summaries of training runs, ``runs/NAME.json``: settings, status and results."""

import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from measurebench.core.digests import digest_json
from measurebench.core.errors import BadInputError, DamageWarning
from measurebench.core.limits import TEXT_BYTES
from measurebench.core.reading import check_file, parse_json, reading
from measurebench.training.training_config import TrainingConfig

__all__ = ["read_summaries", "read_summary", "read_training_summary", "summary_damage"]

# What every summary holds, and what that of a finished run holds besides, and for each checkpoint.
_FIELDS: dict[str, type] = {
    **dict.fromkeys(("run", "identity", "dataset", "status"), str),
    "settings": dict,
    "n_classes": int,
    "in_channels": int,
}
_FINISHED: dict[str, type] = {"checkpoints": dict, "axes": list}
_CHECKPOINT: dict[str, type | tuple[type, ...]] = {"sha256": str, "clean_accuracy_test": (int, float)}
_WORDS = {str: "text", dict: "an object", list: "a list", int: "a whole number"}
_WHAT = "the summary of a training run"


def read_training_summary(path: Path) -> dict[str, Any]:
    """Return the summary of one training run without its checksum; those of earlier versions have none.

    Raises BadInputError, which names the file and the field, for a file that is no JSON object with the fields of a
    summary, and where its checksum does not match.
    """
    value = parse_json(path, TEXT_BYTES, _WHAT)
    if not isinstance(value, dict):
        raise BadInputError(str(path), _WHAT, type(value).__name__)
    checksum = value.pop("checksum", None)
    _check(value, _FIELDS, str(path))
    with reading(path, _WHAT):
        if checksum is not None and checksum != digest_json(value):
            raise BadInputError(str(path), "the content that its checksum is of", "another one")
        TrainingConfig.from_mapping(value["settings"], value["run"])
    if value["status"] == "finished":
        _check(value, _FINISHED, str(path))
        if not all(isinstance(name, str) for name in value["axes"]):
            raise BadInputError(f"{path}: axes", "a list of names", repr(value["axes"])[:80])
        for name, kept in value["checkpoints"].items():
            where = f"{path}: checkpoints: {name}"
            if name not in ("last", "best") or not isinstance(kept, dict):
                raise BadInputError(where, "an object for last or best", repr(kept)[:80])
            _check(kept, _CHECKPOINT, where)
    return value


def read_summary(path: Path) -> dict[str, Any] | None:
    """Return the summary in a file; None, with a DamageWarning, where it is damaged.

    Raises BadInputError where no regular file lies there, and LimitError for one that is too large.
    """
    with suppress(OSError):
        check_file(path, TEXT_BYTES, _WHAT)
    if damage := summary_damage(path):
        warnings.warn(f"{path} is damaged and not used: {damage}", DamageWarning, stacklevel=2)
        return None
    return read_training_summary(path)


def summary_damage(path: Path) -> str:
    """Return what is wrong with the file of a summary, or an empty string."""
    try:
        read_training_summary(path)
    except BadInputError as damage:
        return str(damage).removeprefix(f"{path}: ")
    return ""


def read_summaries(folder: Path) -> list[dict[str, Any]]:
    """Return the summaries of all runs of a training folder, in the order of their names.

    Damaged ones are left out, with a DamageWarning. Raises as ``read_summary`` does.
    """
    summaries = (read_summary(path) for path in sorted((folder / "runs").glob("*.json")))
    return [summary for summary in summaries if summary is not None]


def _check(value: Mapping[str, Any], kinds: Mapping[str, Any], where: str) -> None:
    """Raise BadInputError unless the fields are there in their types; truth values are no numbers."""
    for name, kind in kinds.items():
        if name not in value:
            raise BadInputError(where, f"the field {name!r}", "a summary without it")
        if not isinstance(value[name], kind) or isinstance(value[name], bool):
            raise BadInputError(f"{where}: {name}", _WORDS.get(kind, "a number"), repr(value[name])[:80])
