"""Says what is wrong with stored content although its checksum is right: what readers refuse or leave out."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from measurebench.core.errors import BadInputError
from measurebench.core.infos import info_from_json
from measurebench.store.adversarial import read_adversarial
from measurebench.store.catalogue import checked_entry
from measurebench.store.examples import read_arrays
from measurebench.store.gpu_uses import gpu_uses
from measurebench.store.predictions import is_amount
from measurebench.store.verdicts import verdict_fault

__all__ = ["adversarial_fault", "block_fault", "line_fault", "verdict_file_fault"]


def line_fault(kind: str, line: Mapping[str, Any]) -> str:
    """Return what is wrong with a line of ``KIND.jsonl``, an empty string where nothing is.

    Records are not among the kinds: reading one says what is wrong with it.

    >>> line_fault("costs", {"predicted": 2.0, "seconds": "3"})
    "seconds: expected a number, got '3'"
    """
    check = _CHECKS.get(kind)
    return check(line) if check is not None else ""


def _refusal(read: Callable[[str], Any], where: str) -> str:
    """Return why a reader refuses, without the place that it names."""
    try:
        read(where)
    except BadInputError as error:
        return str(error).removeprefix(f"{where}: ")
    return ""


def _entry_fault(line: Mapping[str, Any]) -> str:
    return _refusal(lambda where: checked_entry(line, where), "entry")


def _info_fault(line: Mapping[str, Any]) -> str:
    info = line.get("info")
    if not isinstance(info, Mapping):
        return f"info: expected the info of a measure, got {_short(info)}"
    return _refusal(lambda where: info_from_json(info, where), "info") or _digest_fault(line)


def _digest_fault(line: Mapping[str, Any]) -> str:
    digest = line.get("digest")
    return "" if isinstance(digest, str) else f"digest: expected text, got {_short(digest)}"


def _cost_fault(line: Mapping[str, Any]) -> str:
    """Return why a line tells nothing of the time that a block took; a time or work of zero is none, and no fault."""
    for name in ("predicted", "seconds", "work"):
        value = line.get(name)
        if not (is_amount(value) or (type(value) in (int, float) and value == 0) or (name == "work" and value is None)):
            return f"{name}: expected a number, got {_short(value)}"
    if line.get("gpu") is not None and not gpu_uses([line]):
        return f"gpu: expected how a GPU was used, got {_short(line['gpu'])}"
    return ""


def _short(value: Any) -> str:
    return "none" if value is None else repr(value)[:80]


_CHECKS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "models": _entry_fault,
    "configs": _digest_fault,
    "environments": _digest_fault,
    "measures": _info_fault,
    "costs": _cost_fault,
}


def verdict_file_fault(file: Path) -> str:
    """Return what is wrong with the arrays of an intact file of verdicts, an empty string where nothing is."""
    arrays = read_arrays(file)
    return "no arrays that can be read" if arrays is None else verdict_fault(arrays)


def adversarial_fault(file: Path) -> str:
    """Return what is wrong with the arrays of an intact file of adversarial images; empty where nothing is."""
    return _refusal(lambda _: read_adversarial(file), str(file))


def block_fault(archive: bytes) -> str:
    """Return what is wrong with the arrays of an intact block, given without its digest; empty where nothing is."""
    try:
        with np.load(io.BytesIO(archive), allow_pickle=False) as arrays:
            for name in arrays.files:
                arrays[name]
    except Exception:  # noqa: BLE001 - a wrong header reaches Python's tokenizer, which raises errors of many kinds
        return "no arrays that can be read"
    return ""
