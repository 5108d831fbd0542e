"""Measures one model: loads and verifies it, then makes a record after every measure."""

import gc
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from measurebench.attacks.audit import is_correct
from measurebench.compute.batch_size import automatic_batch_size
from measurebench.compute.devices import choose_device, clock, is_lost, workers_per_gpu
from measurebench.compute.memory import share_gpu
from measurebench.compute.numerics import numerics
from measurebench.core.digests import digest_json
from measurebench.core.errors import MeasurebenchError
from measurebench.core.info import Split
from measurebench.core.machine_faults import raise_machine_fault
from measurebench.core.records import Diagnostic, Record
from measurebench.datasets import Dataset, ImageSplit
from measurebench.engine.disk_blocks import DiskBlocks
from measurebench.engine.entries import broken_off, load_failure, spec_entry
from measurebench.engine.environment import environment
from measurebench.engine.events import BlockTime, Event, now
from measurebench.engine.gpu_use import gpu_use
from measurebench.engine.measure_code import origin_entry
from measurebench.engine.options import RunOptions
from measurebench.engine.peak_memory import peak_memory
from measurebench.engine.plan import Part, Task, chosen_measures, n_attacked, n_examples
from measurebench.engine.saved_images import SavedImages
from measurebench.engine.scheduling.flops import architecture_key, flops_of
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
    "forget_model",
    "load_failure",
    "measure_model",
    "spec_entry",
]

_PREFLIGHT_IMAGES = 16


class DeviceLostError(RuntimeError):
    """The process can no longer use its GPU; what is left to measure needs another process."""


def measure_model(task: Task, options: RunOptions, dataset: Dataset, out: Path, index: int = 0) -> Iterator[Event]:
    """Yield events as they happen, with a record after every measure. A measure that raises does not stop the next.

    A block whose model has others is followed by "block", with the seconds that loading and measuring took; the model
    stays loaded for the next of them. Raises DeviceLostError after the record of a measure that left the process
    without its GPU, and MachineError for a full disk, a lost drive or memory that ran out, which make no record.
    """
    device = choose_device(options.device, index)
    if device != "cpu":
        torch.cuda.set_device(device)
        share_gpu(_workers_per_gpu(options))
    with numerics("exact"):  # in fast precision too: only attacks search in 16 bits, with a network of their own
        surroundings = environment(device)
        digest = digest_json(surroundings)
        yield Event("environment", {"digest": digest, **surroundings})
        yield Event("config", {"digest": task.config.digest(), **task.config.to_json()})
        yield Event("started", task.spec.id)
        begin = time.perf_counter()
        try:
            run = _LAST.model(task, options, dataset, out, device, digest)
        except (Exception, SystemExit) as error:  # a model may raise anything; it becomes a failed record
            raise_machine_fault(error, task.spec.id, task.spec.locator if task.spec.source == "local" else None)
            yield from load_failure(task, options, _reason(error), digest, peak_memory(device))
            if is_lost(error):
                raise DeviceLostError from error
        else:
            if run is not None:
                loaded = time.perf_counter()
                yield Event("model", run.catalogue_entry())
                yield from run.records()
                measuring = time.perf_counter() - loaded
                yield Event("block", BlockTime(task, loaded - begin, measuring, gpu_use(device)))
        finally:
            run = None
            if not task.block:
                forget_model()
        yield Event("finished", task.spec.id)


def _workers_per_gpu(options: RunOptions) -> int:
    """Return how many workers of a run share one GPU, on this machine or on a cluster."""
    if options.executor == "ray":
        return max(1, int(1 / options.gpus_per_worker)) if options.gpus_per_worker else 1
    return workers_per_gpu(options.workers, options.device)


def forget_model() -> None:
    """Drop the model that was kept for its next block, and give back its memory."""
    _LAST.forget()


class _LastModel:
    """The model that this process loaded last; blocks of the same model find it here."""

    def __init__(self) -> None:
        self.key: tuple[Any, ...] | None = None
        self.run: _ModelRun | None = None

    def model(
        self, task: Task, options: RunOptions, dataset: Dataset, out: Path, device: str, environment_digest: str
    ) -> "_ModelRun | None":
        """Return the loaded model of a block, None for one that could not be loaded for an earlier block.

        Raises what loading and verifying raise.
        """
        key = (task.model_key, options, out, device)
        if key != self.key or not task.block:
            self.forget()  # before the next is loaded: two networks may not fit side by side
            self.key = key
            self.run = _ModelRun(task, options, dataset, out, device, environment_digest)
        if self.run is not None:
            self.run.task = task
        return self.run

    def forget(self) -> None:
        """Drop the model and give back the memory of the GPU."""
        on_gpu = self.run is not None and self.run.device != "cpu"
        self.key = self.run = None
        if on_gpu:
            gc.collect()
            torch.cuda.empty_cache()


_LAST = _LastModel()


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
        self.last_split: Split | None = None
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
        self.flops = flops_of(self.task.spec, network, images[:1])

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
        if self.task.part is not None:
            self._search(self.task.part)
        for name, split in self.task.pairs:
            self._begin(split)
            yield Event("record", self._record(self.measures[name], split))
            if self.device_lost:
                raise DeviceLostError

    def _begin(self, split: Split) -> None:
        """Drop the shared work of the other split: both do not fit into the memory of a GPU."""
        if self.last_split is not None and split != self.last_split:
            self.contexts.pop(self.last_split, None)
        self.last_split = split

    def _search(self, part: Part) -> None:
        """Search a part of an attack's examples and keep what it finds for the block that records the accuracy.

        An error leaves no trace here: that block meets it again and records it.
        """
        self._begin(part.split)
        item = self.measures[part.measure]
        assert isinstance(item, AttackAccuracy)
        try:
            start = clock(self.device)
            self.context(part.split).search_ahead(item.attack, part.start, part.stop)
            seconds = np.array(clock(self.device) - start)
            self._blocks(part.split).put(_seconds_name(part), {"seconds": seconds})
        except (Exception, SystemExit) as error:
            raise_machine_fault(error, f"{self.task.spec.id}: {item.info.id}")
            if is_lost(error):
                raise DeviceLostError from error

    def _searched(self, split: Split) -> float:
        """Return the seconds that went into parts of the block's attack."""
        found = (self._blocks(split).get(_seconds_name(part)) for part in self.task.parts)
        return sum(float(arrays["seconds"]) for arrays in found if arrays is not None)

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
            taken += self._searched(split)
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
            time=now(),
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
        entry |= {"flops": self.flops, "architecture_key": architecture_key(self.task.spec)}
        return entry | counts | {"dataset": self.dataset.name} | ({"adversarial": files} if files else {})


def _seconds_name(part: Part) -> str:
    return f"{part.measure}-seconds-{part.start:05d}-{part.stop:05d}"


def _with_plain_weights(model: LoadedModel, image: torch.Tensor) -> LoadedModel:
    """Return the model with weights that hooks compute as parameters; ``image`` [1, C, H, W] is passed through it."""
    initial = None if model.initial is None else plain(model.initial.to(image.device), image).network
    return replace(model, network=plain(model.network, image).network, initial=initial)


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
