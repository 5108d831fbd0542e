"""Many runs side by side: one single-threaded process per core, resumed run by run."""

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from measurebench.core.digests import digest_file
from measurebench.core.errors import BadInputError, DamageWarning, MeasurebenchError
from measurebench.core.files import remove_temporaries
from measurebench.core.machine_faults import raise_machine_fault
from measurebench.core.packages import installed_version
from measurebench.core.plugins import PluginWarning, load_plugins, plugin_files
from measurebench.core.processes import end_with
from measurebench.core.trust import trust
from measurebench.core.whole_files import damage_of
from measurebench.datasets import Dataset, load_dataset
from measurebench.models.manifest import copy_beside
from measurebench.store.journal import exclusive
from measurebench.training.checkpoints import (
    TrainingFiles,
    write_curves,
    write_manifest,
    write_summary,
    write_weights,
)
from measurebench.training.grid import PlannedTraining
from measurebench.training.summaries import read_summaries

if TYPE_CHECKING:
    from measurebench.training.trainer import Progress

__all__ = ["OnEpoch", "OnRun", "Source", "TrainingOutcome", "train_all", "train_one"]


@dataclass(frozen=True)
class Source:
    """Which images to train on: a dataset's name, where it lies, and a file with extra images."""

    name: str
    data_dir: str | None = None
    extra_file: str | None = None

    def load(self) -> Dataset:
        """Load the dataset with its extra images. Raises BadInputError where it has no images to train on."""
        from measurebench.training.extra import with_extra_file

        dataset = load_dataset(self.name, self.data_dir)
        dataset.needs_training_images("to train on")
        return with_extra_file(dataset, self.extra_file)


@dataclass(frozen=True)
class TrainingOutcome:
    """How a run ended: finished, failed with its reason, or found finished already."""

    name: str
    status: str
    reason: str
    seconds: float


OnRun = Callable[[TrainingOutcome, int, int], None]
OnEpoch = Callable[["Progress", int], None]
_place = 0  # of this process among the workers: the i-th takes the i-th GPU


def train_all(
    runs: Sequence[PlannedTraining],
    source: Source,
    folder: Path,
    *,
    workers: int | Literal["auto"] = 1,
    device: str = "cpu",
    on_run: OnRun | None = None,
    on_epoch: OnEpoch | None = None,
) -> list[TrainingOutcome]:
    """Train what is not finished yet, write checkpoints and manifest, and return how every run ended.

    A run that fails is noted with its reason and tried again next time; the others go on. ``on_run`` hears of
    every run that ends; ``on_epoch`` of every epoch and the number of epochs, where runs train in this process.
    ``device`` is auto, cpu, cuda or cuda:i; the i-th worker takes the i-th GPU.
    """
    from measurebench.compute.devices import n_workers

    workers = n_workers(workers, device, len(runs))
    dataset = _loaded(source)
    _check(runs, dataset, device)
    with _writing(folder):
        if not (folder / "runs").exists() and any(":" in run.config.architecture for run in runs):
            trust(folder)  # its manifest will name no other code than what the user has let run here
        _refuse_others(folder, runs, dataset)
        for run in runs:
            copy_beside(run.config.architecture, Path.cwd(), folder)
        waiting = [run for run in runs if not _is_finished(TrainingFiles(folder, run))]
        outcomes = {
            run.name: TrainingOutcome(run.name, "finished before", "", 0.0) for run in runs if run not in waiting
        }
        for name in outcomes:
            (folder / "states" / f"{name}.pt").unlink(missing_ok=True)
        try:
            for outcome in _outcomes(waiting, source, folder, workers, device, on_epoch):
                outcomes[outcome.name] = outcome
                if on_run is not None:
                    on_run(outcome, len(outcomes), len(runs))
        finally:
            write_manifest(folder)
            _loaded.cache_clear()
    return [outcomes[run.name] for run in runs]


def _check(runs: Sequence[PlannedTraining], dataset: Dataset, device: str) -> None:
    """Check, before anything is trained, that every run's architecture, images and device are there."""
    from measurebench.compute.devices import choose_device
    from measurebench.training.trainer import check_precision, extra_split, initial_network

    met: set[str] = set()
    for run in runs:
        extra_split(run.config, dataset)
        check_precision(run.config, choose_device(device))
        look = f"{run.config.architecture} {run.config.architecture_kwargs}"
        if look not in met:
            initial_network(run.config, dataset)
            met.add(look)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Make the folder, and lock it against a second trainer."""
    try:
        (folder / "states").mkdir(parents=True, exist_ok=True)
        with exclusive(folder / "states" / "lock", str(folder)):
            for name in (".", "weights", "runs", "states"):
                remove_temporaries(folder / name)
            yield
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise BadInputError(str(folder), "a folder that can be written to", str(error.strerror)) from error


def _outcomes(
    runs: Sequence[PlannedTraining],
    source: Source,
    folder: Path,
    workers: int,
    device: str,
    on_epoch: OnEpoch | None,
) -> Iterator[TrainingOutcome]:
    """Yield outcomes as runs end: here, or from as many processes as there are workers."""
    if workers <= 1 or len(runs) <= 1:
        for run in runs:
            yield train_one(run, source, folder, device, on_epoch)
        return
    spawn = get_context("spawn")
    pool = ProcessPoolExecutor(
        workers, mp_context=spawn, initializer=_begin, initargs=(spawn.Value("i", 0), os.getpid(), plugin_files())
    )
    try:
        pending: set[Future[TrainingOutcome]] = {pool.submit(train_one, run, source, folder, device) for run in runs}
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except BrokenProcessPool:
        raise MeasurebenchError(
            "a training process was killed (out of memory?); run the same command again: it goes on where it stopped"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(
    places: Any, parent: int, plugins: Sequence[Path]
) -> None:  # pragma: no cover - runs in a process of its own
    """Take the next place among the workers, and end when the parent is gone."""
    global _place
    with places.get_lock():
        _place, places.value = places.value, places.value + 1
    end_with(parent)
    warnings.simplefilter("ignore", PluginWarning)  # the parent process has shown it
    load_plugins(plugins)


@cache
def _loaded(source: Source) -> Dataset:
    """Load a dataset once per process."""
    return source.load()


def train_one(
    run: PlannedTraining,
    source: Source,
    folder: Path,
    device: str,
    on_epoch: OnEpoch | None = None,
) -> TrainingOutcome:
    """Train one run, write its checkpoints, curves and summary; what goes wrong becomes its reason.

    A full disk, a lost drive or memory that ran out is no property of the run: it raises OSError or MachineError.
    """
    from measurebench.compute.devices import choose_device

    files, started, device = TrainingFiles(folder, run), time.perf_counter(), choose_device(device, _place)
    try:
        summary = _train(run, _loaded(source), files, device, on_epoch)
    except OSError:  # a full disk is nothing of this run's
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's network raises; the others go on
        raise_machine_fault(error, run.name)
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        summary = _summary(run, _loaded(source), device) | {"status": "failed", "reason": reason}
    write_summary(files.summary, summary)
    if summary["status"] == "finished":
        files.state.unlink(missing_ok=True)
    return TrainingOutcome(run.name, summary["status"], summary.get("reason", ""), time.perf_counter() - started)


def _train(
    run: PlannedTraining, dataset: Dataset, files: TrainingFiles, device: str, on_epoch: OnEpoch | None
) -> dict[str, Any]:
    """Train, write the weights, and return the summary of a finished run; the curves grow as they are measured."""
    from measurebench.compute.numerics import numerics
    from measurebench.models.normalized import unnormalized
    from measurebench.training.scores import clean_accuracy
    from measurebench.training.trainer import initial_network, train

    def note(progress: "Progress") -> None:
        if progress.curves and progress.curves[-1]["epoch"] == progress.epoch:
            write_curves(files.curves, progress.curves)
        if on_epoch is not None:
            on_epoch(progress, run.config.epochs)

    trained = train(run.config, dataset, device=device, state_path=files.state, on_epoch=note)
    write_weights(files.initial, trained.initial)
    checkpoints: dict[str, dict[str, Any]] = {}
    for name in run.checkpoints:
        weights = trained.best if name == "best" else trained.last
        write_weights(files.weights(name), weights)
        network = initial_network(run.config, dataset)
        unnormalized(network).load_state_dict(weights)
        with numerics("exact"):
            accuracy = clean_accuracy(network.to(device), dataset.test, device)
        checkpoints[name] = {
            "epoch": trained.best_epoch if name == "best" else run.config.epochs,
            "clean_accuracy_test": accuracy,
            "sha256": digest_file(files.weights(name)),
        }
    results = {"status": "finished", "checkpoints": checkpoints, "seconds": round(trained.seconds, 2)}
    results |= {"initial_sha256": digest_file(files.initial), "curves_sha256": digest_file(files.curves)}
    return _summary(run, dataset, device) | results


def _summary(run: PlannedTraining, dataset: Dataset, device: str) -> dict[str, Any]:
    """Return what is known of a run before it is trained."""
    from measurebench.training.trainer import training_identity

    software = {name: installed_version(name) for name in ("measurebench", "torch", "numpy")} | {
        "python": sys.version.split()[0]
    }
    return {
        "run": run.name,
        "axes": list(run.axes),
        "identity": training_identity(run.config, dataset),
        "settings": run.config.to_json(),
        "dataset": dataset.name,
        "n_classes": dataset.n_classes,
        "in_channels": dataset.train.images.shape[1],
        "device": device,
        "software": software,
    }


def _is_finished(files: TrainingFiles) -> bool:
    """Whether the summary says so and its files are there as it says; what is damaged is trained again."""
    summary = files.read_summary()
    if (
        summary is None
        or summary["status"] != "finished"
        or not set(files.run.checkpoints) <= {*summary["checkpoints"]}
    ):
        return False
    # Curves are told of by ``verify``; they are not worth hours of training.
    damages = [(path, damage) for path, damage in files.damages(summary) if path != files.curves]
    for path, damage in damages:
        if damage != "missing":
            warnings.warn(f"{path} is {damage}; the run is trained again", DamageWarning, stacklevel=2)
    return not damages


def _refuse_others(folder: Path, runs: Sequence[PlannedTraining], dataset: Dataset) -> None:
    """Refuse a folder of another dataset, or with a run of the same name that has other settings or images.

    What a failed run left does not count: it is removed, so that the run can be tried with other settings.
    """
    from measurebench.training.trainer import check_state, training_identity

    others = {summary["dataset"] for summary in read_summaries(folder)} - {dataset.name}
    if others:
        raise BadInputError(
            str(folder), f"models of {dataset.name}", f"models of {min(others)}", "choose another --out"
        )
    for run in runs:
        files, identity = TrainingFiles(folder, run), training_identity(run.config, dataset)
        summary = files.read_summary()
        if summary is not None and summary["identity"] != identity:
            if summary["status"] != "failed":
                raise BadInputError(
                    str(files.summary),
                    "a run with these settings and images",
                    "one of the same name with others",
                    "choose another --out",
                )
            files.state.unlink(missing_ok=True)
            files.summary.unlink()
        if files.state.is_file() and (damage := damage_of(files.state)):
            warnings.warn(f"{files.state} is damaged, the run starts afresh: {damage}", DamageWarning, stacklevel=2)
            files.state.unlink()
        if files.state.is_file():
            check_state(files.state, identity)
