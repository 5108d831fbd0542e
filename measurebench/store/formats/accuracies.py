"""The measured accuracies of a results folder, as formats of results want them: with threat model and uncertainty."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError
from measurebench.core.intervals import wilson_interval
from measurebench.core.records import Record
from measurebench.store.folder import ResultsFolder, model_key

__all__ = ["HUB_DATASETS", "Measured", "attack_of", "interval", "measured", "threat_of"]

HUB_DATASETS = {"cifar10": "uoft-cs/cifar10", "cifar100": "uoft-cs/cifar100", "imagenet": "ILSVRC/imagenet-1k"}
"""Repositories of data sets on the Hugging Face Hub, by the family of our names."""


@dataclass(frozen=True)
class Measured:
    """A model with one configuration, and its records."""

    entry: Mapping[str, Any]
    records: tuple[Record, ...]

    @property
    def model_id(self) -> str:
        """The model's id."""
        return str(self.entry["model_id"])

    @property
    def dataset(self) -> str:
        """The data set's name without its argument: ``cifar10`` of ``cifar10:robustbench``."""
        return str(self.entry.get("dataset") or "unknown").partition(":")[0]

    @property
    def time(self) -> str:
        """When the last of its values was measured (ISO 8601)."""
        return max(record.time for record in self.records)

    @property
    def accuracies(self) -> tuple[Record, ...]:
        """The records of clean and robust accuracies."""
        return tuple(record for record in self.records if record.measure.endswith("_accuracy"))


def measured(folder: Path) -> Iterator[Measured]:
    """Yield every model and configuration of a results folder that has a measured value.

    Raises BadInputError for another folder, and for one in which nothing was measured.
    """
    results = ResultsFolder.open(folder)
    by_model, found = results.records_by_model(), False
    for entry in results.configurations():
        records = tuple(r for r in by_model[model_key(entry)] if r.status == "measured")
        if records:
            found = True
            yield Measured(entry, records)
    if not found:
        raise BadInputError(str(folder), "a results folder with measured values", "none")


def attack_of(record: Record) -> str:
    """Return the attack of an accuracy: ``clean`` for none."""
    return record.measure.removesuffix("_accuracy")


def threat_of(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return norm and radius, the radius as it was written where that is known (``8/255``).

    >>> threat_of({"norm": "Linf", "radius": 0.15, "radius_text": "3/20"})
    ('Linf', '3/20')
    """
    return str(entry.get("norm") or ""), str(entry.get("radius_text") or entry.get("radius") or "")


def interval(record: Record) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy (Wilson), from its value and its number of images."""
    low, high = wilson_interval(round((record.value or 0.0) * record.n), record.n)
    return float(low), float(high)
