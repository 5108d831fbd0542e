"""Entries of the catalogue, and the records of models that cannot be loaded and of measures that were broken off."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from measurebench.core.packages import own_version
from measurebench.core.records import Record
from measurebench.core.specs import ModelSpec
from measurebench.datasets import Dataset
from measurebench.engine.events import Event, now
from measurebench.engine.measure_code import origin_entry
from measurebench.engine.options import RunOptions
from measurebench.engine.plan import Pair, Task, chosen_measures, n_attacked
from measurebench.models import LoadedModel

__all__ = ["broken_off", "load_failure", "spec_entry"]


def spec_entry(task: Task, spec: ModelSpec, model: LoadedModel | None, failure: str = "") -> dict[str, Any]:
    """Return a catalogue entry: identity, settings, and the configuration that the model is measured under."""
    threat = task.config.threat
    return {
        "model_id": spec.id,
        "model_digest": model.digest if model else task.model_digest,
        "config_digest": task.config.digest(),
        "reference": spec.reference,
        "source": spec.source,
        "file_sha256": spec.file_sha256,
        "architecture": spec.architecture,
        "n_parameters": model.n_parameters if model else None,
        "defense": spec.defense,
        "dataset": task.config.dataset,
        "norm": threat.norm.value,
        "radius": threat.radius,
        "radius_text": threat.text,
        "run": spec.run,
        "cluster": spec.cluster,
        "settings": dict(spec.settings),
        "notes": list(model.notes) if model else [],
        "failure": failure,
        "measurebench_version": own_version(),
    }


def load_failure(
    task: Task, options: RunOptions, reason: str, environment_digest: str, peak_memory: int
) -> Iterator[Event]:
    """Yield the entry and the failed record of a model that could not be loaded or did not pass its checks."""
    yield Event("model", spec_entry(task, task.spec, None, reason))
    yield _failed(task, options, ("load", "train"), 1, 0, task.model_digest, reason, environment_digest, peak_memory)


def broken_off(
    task: Task,
    options: RunOptions,
    dataset: Dataset,
    pair: Pair,
    model_digest: str,
    reason: str,
    environment: str,
    peak_memory: int,
) -> Event:
    """Return the failed record of a measure in the middle of which the process ended."""
    item = next(item for item in chosen_measures(options) if item.info.id == pair[0])
    n = n_attacked(options, dataset, item, pair[1])
    event = _failed(task, options, pair, item.info.version, n, model_digest, reason, environment, peak_memory)
    return replace(event, value=replace(event.value, diagnostics=origin_entry(item)))


def _failed(
    task: Task,
    options: RunOptions,
    pair: Pair,
    version: int,
    n: int,
    model_digest: str,
    reason: str,
    environment: str,
    peak_memory: int,
) -> Event:
    record = Record(
        model_id=task.spec.id,
        model_digest=model_digest,
        measure=pair[0],
        measure_version=version,
        split=pair[1],
        config_digest=task.config.digest(),
        status="failed",
        value=None,
        standard_error=None,
        n=n,
        seconds=0.0,
        peak_memory_bytes=peak_memory,
        seed=options.seed,
        environment_digest=environment,
        time=now(),
        reason=reason,
    )
    return Event("record", record)
