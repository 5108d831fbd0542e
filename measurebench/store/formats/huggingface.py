"""Writes Hugging Face's evaluation results: ``.eval_results/measurebench.yaml``, as the Hub reads it from a model.

https://huggingface.co/docs/hub/eval-results. One file per model, to be copied into the model's repository.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError
from measurebench.core.files import file_name, write_atomically
from measurebench.core.records import Record
from measurebench.store.formats.accuracies import HUB_DATASETS, Measured, attack_of, interval, measured, threat_of

__all__ = ["eval_results", "to_yaml", "write_hugging_face"]

_PLACE = (".eval_results", "measurebench.yaml")


def write_hugging_face(folder: Path, out: Path, *, dataset: str = "") -> list[Path]:
    """Write ``OUT/MODEL/.eval_results/measurebench.yaml`` for each model of a results folder; return the files.

    ``dataset`` is the repository of the data set on the Hub, such as ``uoft-cs/cifar10``; that of CIFAR-10, CIFAR-100
    and ImageNet is known. A model with several configurations has one file with the results of all. Raises
    BadInputError for a data set whose repository is not known.
    """
    results: dict[str, list[dict[str, Any]]] = {}
    for each in measured(folder):
        results.setdefault(each.model_id, []).extend(eval_results(each, dataset))
    written = []
    for model, entries in results.items():
        path = out.joinpath(file_name(model), *_PLACE)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, to_yaml(entries).encode())
        written.append(path)
    return written


def eval_results(each: Measured, dataset: str = "") -> list[dict[str, Any]]:
    """Return the entries of one model's file: its accuracies on test images, as fractions.

    Raises BadInputError for a data set whose repository on the Hub is not known.
    """
    name = dataset or HUB_DATASETS.get(each.dataset)
    if name is None:
        expected = f"--hub-dataset OWNER/NAME for {each.dataset!r}"
        raise BadInputError("--format huggingface", expected, "none", f"known are {', '.join(HUB_DATASETS)}")
    if name.count("/") != 1 or not all(name.split("/")):
        raise BadInputError("--hub-dataset", "OWNER/NAME", repr(name))
    return [_entry(record, each, name) for record in each.accuracies if record.split == "test"]


def _entry(record: Record, each: Measured, dataset: str) -> dict[str, Any]:
    attack, (norm, radius) = attack_of(record), threat_of(each.entry)
    robust = attack != "clean"
    low, high = interval(record)
    under = f"{attack}, {norm}, radius {radius}" if robust else "clean images"
    return {
        "dataset": {"id": dataset, "task_id": _task(attack, norm, radius)},
        "value": record.value,
        "date": record.time,
        "notes": f"accuracy, {under}; {record.n} test images, 95 % interval {low:.4f} to {high:.4f}; "
        f"measurebench {each.entry.get('measurebench_version')}, configuration {record.config_digest}",
    }


def _task(attack: str, norm: str, radius: str) -> str:
    """Return a task's id: letters, digits, hyphens and underscores."""
    return "clean" if attack == "clean" else f"{attack}_{norm}_{radius.replace('/', '-')}"


def to_yaml(entries: list[dict[str, Any]]) -> str:
    """Return a list of mappings of plain values, or of mappings of them, as YAML; texts are quoted as in JSON.

    >>> print(to_yaml([{"dataset": {"id": "a/b"}, "value": 0.5}]), end="")
    - dataset:
        id: "a/b"
      value: 0.5
    """
    lines = []
    for entry in entries:
        block = [line for name, value in entry.items() for line in _lines(name, value)]
        lines += [("- " if number == 0 else "  ") + line for number, line in enumerate(block)]
    return "\n".join(lines) + "\n" if lines else "[]\n"


def _lines(name: str, value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{name}:", *(f"  {line}" for key, inner in value.items() for line in _lines(key, inner))]
    return [f"{name}: {json.dumps(value)}"]
