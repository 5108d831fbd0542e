"""Measures one model: loads and verifies it, then makes a record after every measure."""

import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from measurebench.attacks.audit import is_correct
from measurebench.compute.batch_size import automatic_batch_size
from measurebench.compute.devices import choose_device, clock, is_lost
from measurebench.compute.numerics import numerics
from measurebench.core.digests import digest_json
from measurebench.core.errors import MeasurebenchError
from measurebench.core.info import Split
from measurebench.core.machine_faults import raise_machine_fault
from measurebench.core.packages import own_version
from measurebench.core.records import Diagnostic, Record
from measurebench.core.specs import ModelSpec
from measurebench.datasets import Dataset, ImageSplit
from measurebench.engine.disk_blocks import DiskBlocks
from measurebench.engine.environment import environment
from measurebench.engine.measure_code import origin_entry
from measurebench.engine.options import RunOptions
from measurebench.engine.peak_memory import peak_memory
from measurebench.engine.plan import Pair, Task, chosen_measures, n_attacked, n_examples
from measurebench.engine.saved_images import SavedImages
from measurebench.engine.supplied_images import aligned, supplied_to
from measurebench.measures.api import evaluate, shared_gradients
from measurebench.measures.context import MeasureContext, MeasureSettings
from measurebench.measures.registry import Measure
from measurebench.measures.robustness.accuracy import AttackAccuracy
from measurebench.measures.value import MeasureValue
from measurebench.models import LoadedModel, load_model, preflight, verify_clean_accuracy
from measurebench.models.effective import plain
from measurebench.store.examples import verdict_path, write_arrays

__all__ = [
    "DeviceLostError",
    "Event",
    "broken_off",
    "load_failure",
    "measure_model",
    "spec_entry",
]

_PREFLIGHT_IMAGES = 16


@dataclass(frozen=True)
class Event:
    """What happened, for the journal or the screen: a model, record, environment or config, started or finished."""

    kind: str
    value: Any


class DeviceLostError(RuntimeError):
    """The process can no longer use its GPU; what is left to measure needs another process."""


def measure_model(task: Task, options: RunOptions, dataset: Dataset, out: Path, index: int = 0) -> Iterator[Event]:
    """Yield events as they happen, with a record after every measure. A measure that raises does not stop the next.

    Raises DeviceLostError after the record of a measure that left the process without its GPU, and MachineError for a
    full disk, a lost drive or memory that ran out, which make no record.
    """
    device = choose_device(options.device, index)
    if device != "cpu":
        torch.cuda.set_device(device)
    with numerics("exact"):  # in fast precision too: only attacks search in 16 bits, with a network of their own
        surroundings = environment(device)
        digest = digest_json(surroundings)
        yield Event("environment", {"digest": digest, **surroundings})
        yield Event("config", {"digest": task.config.digest(), **task.config.to_json()})
        yield Event("started", task.spec.id)
        try:
            run = _ModelRun(task, options, dataset, out, device, digest)
        except (Exception, SystemExit) as error:  # a model may raise anything; it becomes a failed record
            raise_machine_fault(error, task.spec.id, task.spec.locator if task.spec.source == "local" else None)
            yield from load_failure(task, options, _reason(error), digest, peak_memory(device))
            if is_lost(error):
                raise DeviceLostError from error
        else:
            yield Event("model", run.catalogue_entry())
            yield from run.records()
            del run
            if device != "cpu":
                gc.collect()
                torch.cuda.empty_cache()
        yield Event("finished", task.spec.id)


class _ModelRun:
    """A loaded and verified model with one context per split."""

    def __init__(
        self,
        task: Task,
        options: RunOptions,
        dataset: Dataset,
        out: Path,
        device: str,
        environment_digest: str,
    ) -> None:
        self.task, self.options, self.dataset, self.out = task, options, dataset, out
        self.device, self.environment_digest = device, environment_digest
        self.device_lost = False
        self.model = load_model(
            task.spec, allow_pickle=options.allow_pickle, trust_code=options.trust_code, offline=options.offline
        )
        self.measures = {item.info.id: item for item in chosen_measures(options)}
        self._verify()

    def _verify(self) -> None:
        """Run the preflight and compare clean accuracy with the published figure, before anything is measured."""
        some = self.dataset.test.first(_PREFLIGHT_IMAGES)
        images, labels = torch.from_numpy(some.images).to(self.device), torch.from_numpy(some.labels).to(self.device)
        self.model.network.to(self.device)
        preflight(self.model, images, labels, self.dataset.n_classes, not self.dataset.classes_known)
        self.model = _with_plain_weights(self.model, images[:1])
        network, initial = self.model.network.to(self.device), self.model.initial
        self.network = network
        self.initial = None if initial is None else initial.to(self.device)
        asked = self.options.batch_size
        self.batch_size = automatic_batch_size(network, images[0], self.device) if asked == "auto" else asked
        self.contexts: dict[Split, MeasureContext] = {}
        self.stores: dict[Split, DiskBlocks] = {}
        self.context("train")
        test = self.context("test")
        n_correct = int(is_correct(test.clean_logits, test.labels).sum())
        verify_clean_accuracy(self.model, n_correct, test.n)

    def _split(self, split: Split) -> ImageSplit:
        return self.dataset.split(split).first(n_examples(self.options, self.dataset, split))

    def context(self, split: Split) -> MeasureContext:
        """Return the context of a split, made on first use."""
        if split not in self.contexts:
            data = self._split(split)
            settings = MeasureSettings(
                self.task.config.threat,
                self.options.seed,
                split,
                self.options.pgd_steps,
                self.task.config.pgd_step_fraction,
                shared_gradients(self._on(split)),
                {
                    item.attack.info.id: n_attacked(self.options, self.dataset, item, split)
                    for item in self.measures.values()
                    if isinstance(item, AttackAccuracy)
                },
                self.options.precision,
                shared_gradients(self._on(split), "weights"),
            )
            self.contexts[split] = MeasureContext(
                self.network,
                torch.from_numpy(data.images).to(self.device),
                torch.from_numpy(data.labels).to(self.device),
                settings,
                initial_network=self.initial,
                keys=torch.from_numpy(data.indices).to(self.device),
                batch_size=self.batch_size,
                adversarial=self._supplied(split, data),
                store=self._blocks(split),
            )
        return self.contexts[split]

    def _blocks(self, split: Split) -> DiskBlocks:
        """Return the store of a split's attacks, the same one on every call."""
        if split not in self.stores:
            place = self.out, self.model.digest, self.task.config.digest()
            self.stores[split] = DiskBlocks(*place, split, self.device)
        return self.stores[split]

    def _supplied(self, split: Split, data: ImageSplit) -> torch.Tensor | None:
        """Return the adversarial images that the user gave for these examples, [n, C, H, W], if any."""
        if split not in self.task.supplied:
            return None
        file = supplied_to([self.task.supplied[split]], self.task.spec.id, self.model.digest)[split]
        return torch.from_numpy(aligned(file, data, self.task.config.threat)).to(self.device)

    def _on(self, split: Split) -> list[Measure]:
        """Return the measures asked for on a split, measured already or not."""
        return [m for m in self.measures.values() if m.info.tier == "accuracy" or split in self.options.splits]

    def records(self) -> Iterator[Event]:
        """Yield a record for each open pair; a split's shared work is dropped after its last one."""
        last: Split | None = None
        for name, split in self.task.pairs:
            if last is not None and split != last:
                self.contexts.pop(last, None)
            last = split
            yield Event("record", self._record(self.measures[name], split))
            if self.device_lost:
                raise DeviceLostError

    def _record(self, item: Measure, split: Split) -> Record:
        if self.device != "cpu":
            torch.cuda.reset_peak_memory_stats(self.device)
        value, failure, taken = MeasureValue.undefined("failed"), "", 0.0
        context = self.context(split)
        shared, start = sum(context.shared_seconds.values()), time.perf_counter()
        try:
            # Inside, since an earlier kernel's error shows itself when the device is waited for.
            start = clock(self.device)
            value = evaluate(item, context)
            if isinstance(item, AttackAccuracy):
                self._write_verdicts(item, context, split)
            taken = clock(self.device) - start - (sum(context.shared_seconds.values()) - shared)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a failure of any kind is a row without a number
            raise_machine_fault(error, f"{self.task.spec.id}: {item.info.id}")
            failure, self.device_lost = _reason(error), is_lost(error)
            taken = time.perf_counter() - start
        return Record(
            model_id=self.task.spec.id,
            model_digest=self.model.digest,
            measure=item.info.id,
            measure_version=item.info.version,
            split=split,
            config_digest=self.task.config.digest(),
            status="failed" if failure else value.status,
            value=None if failure else value.value,
            standard_error=None if failure or value.value is None else value.standard_error,
            n=_n(item, value, context),
            seconds=max(taken, 0.0),
            peak_memory_bytes=peak_memory(self.device),
            seed=self.options.seed,
            environment_digest=self.environment_digest,
            time=_now(),
            reason=failure or value.reason,
            diagnostics=({} if failure else dict(value.diagnostics) | self._numerics(item, split)) | origin_entry(item),
        )

    def _numerics(self, item: Measure, split: Split) -> dict[str, Diagnostic]:
        """Return what is told of how a value was computed.

        That is the batch size, the network that searched for the PGD examples where it was not the judge, and the kinds
        of device where an attack's examples come from more than one.
        """
        context, told = self.context(split), dict[str, Diagnostic]()
        told["batch_size"] = context.batches.smallest
        if "pgd" in item.info.inputs and context.search_network:
            told["search_network"] = context.search_network
        devices = self._blocks(split).devices
        if isinstance(item, AttackAccuracy) and item.attack.info.exact and len(devices) > 1:
            told["devices"] = ", ".join(sorted(devices))
        return told

    def _write_verdicts(self, item: AttackAccuracy, context: MeasureContext, split: Split) -> None:
        """Keep per-example verdicts and the digest of the images beside the records."""
        outcome = context.outcome(item.attack)
        n = len(outcome.robust)
        data = self._split(split).first(n)
        if self.options.save_adversarial:
            saved = SavedImages(self.out, self.task.spec.id, self.model.digest, self.task.config)
            saved.save(item, split, outcome, data)
        path = verdict_path(self.out, self.task.spec.id, self.task.config.digest(), split, item.info.id)
        write_arrays(
            path,
            {
                "index": data.indices,
                "label": data.labels,
                "correct": outcome.correct.cpu().numpy(),
                "robust": outcome.robust.cpu().numpy(),
                "distance": outcome.distances.cpu().numpy(),
                "violation": outcome.violations.cpu().numpy(),
                "input_digest": np.array(data.digest()),
                **{name: values.cpu().numpy() for name, values in outcome.details.items()},
            },
        )

    def catalogue_entry(self) -> dict[str, Any]:
        """Return what the table says of the model besides its measures."""
        entry = spec_entry(self.task, replace(self.model.spec, id=self.task.spec.id), self.model)
        counts = {f"n_{split}": n_examples(self.options, self.dataset, split) for split in ("train", "test")}
        files = {split: str(path) for split, path in self.task.supplied.items()}
        return entry | counts | {"dataset": self.dataset.name} | ({"adversarial": files} if files else {})


def _with_plain_weights(model: LoadedModel, image: torch.Tensor) -> LoadedModel:
    """Return the model with weights that hooks compute as parameters; ``image`` [1, C, H, W] is passed through it."""
    initial = None if model.initial is None else plain(model.initial.to(image.device), image).network
    return replace(model, network=plain(model.network, image).network, initial=initial)


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
        time=_now(),
        reason=reason,
    )
    return Event("record", record)


def _n(item: Measure, value: MeasureValue, context: MeasureContext) -> int:
    """Return how many examples a value rests on; an attack without a value counts those it was asked for."""
    if value.n is not None:
        return value.n
    if isinstance(item, AttackAccuracy):
        return context.n_attacked(item.attack)
    return context.n if {"clean", "pgd"} & set(item.info.inputs) else 0


def _reason(error: BaseException) -> str:
    """Return an error in one line: our own as they are, others with their type."""
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, MeasurebenchError) else f"{type(error).__name__}: {text}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
