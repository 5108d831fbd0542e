"""Measures models side by side in worker processes: one single-threaded per core, or one per GPU.

Workers end with their parent. They do not import the user's script again, as processes of ``multiprocessing`` usually
do: a script that calls ``measurebench.run`` needs no ``if __name__ == "__main__"``, unless it defines an attack
(``__main__:callable``).
"""

import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from measurebench.core.errors import MeasurebenchError
from measurebench.core.machine_faults import MachineError
from measurebench.core.plugins import PluginWarning, load_plugins, plugin_files
from measurebench.core.processes import end_with
from measurebench.datasets import Dataset
from measurebench.engine.model_run import (
    DeviceLostError,
    Event,
    broken_off,
    load_failure,
    measure_model,
)
from measurebench.engine.options import RunOptions
from measurebench.engine.peak_memory import peak_memory_of_children
from measurebench.engine.plan import Task
from measurebench.engine.scheduling.queue import BlockQueue

__all__ = ["measure_in_workers", "without_main"]

_DEVICE_LOST = 75  # exit status of a worker that can no longer use its GPU; its records are all written
_SILENT_DEATHS = 3  # workers that may end in a row before they said anything


@dataclass
class _Job:
    """A task that a worker has, and what came of it so far."""

    task: Task
    environment: str = ""
    on_gpu: bool = False
    gpu_memory: int = 0
    model_digest: str = ""
    done: set[tuple[str, str]] = field(default_factory=set)

    def note(self, event: Event) -> None:
        """Keep what an event says about the state of this task."""
        if event.kind == "environment":
            self.environment, self.on_gpu = event.value["digest"], event.value.get("device", "cpu") != "cpu"
        elif event.kind == "model" and not event.value["failure"]:
            self.model_digest = event.value["model_digest"]
        elif event.kind == "record":
            self.done.add((event.value.measure, event.value.split))
            self.gpu_memory = max(self.gpu_memory, event.value.peak_memory_bytes if self.on_gpu else 0)

    def rest(self) -> Task:
        """Return the task with the pairs still open; none for a model that could not be loaded."""
        left = () if ("load", "train") in self.done else self.task.pairs
        return replace(self.task, pairs=tuple(pair for pair in left if pair not in self.done))


def measure_in_workers(
    queue: BlockQueue, options: RunOptions, dataset: Dataset, out: Path, n_workers: int
) -> Iterator[Event]:
    """Yield the events of all blocks as they come. A worker that dies is replaced.

    The measure at which it died becomes a failed record that says how (such as killed by the system for its memory);
    the rest of its task goes to another worker. Raises MeasurebenchError when workers die before they begin, and the
    MachineError that a worker met.
    """
    silent, pool = 0, _Pool(options, dataset, out)
    try:
        for worker in range(n_workers if queue.waiting else 0):
            pool.start(worker)
        while queue.waiting or pool.jobs:
            for worker in pool.idle():
                if (task := queue.take(worker)) is not None:
                    pool.give(worker, task)
            for event, death in pool.heard():
                if event is not None and event.kind == "fault":
                    raise event.value
                if event is not None:
                    yield event
                if death is None:
                    continue
                silent = 0 if death.job.environment else silent + 1
                if silent == _SILENT_DEATHS:
                    raise MeasurebenchError(f"workers end before they begin: {death.how}")
                for consequence in _blame(death, options, dataset):
                    death.job.note(consequence)
                    yield consequence
                if (rest := death.job.rest()).pairs:
                    queue.give_back(rest)
    finally:
        pool.stop()


@dataclass(frozen=True)
class _Death:
    """The end of a worker in the middle of a job."""

    job: _Job
    exit_code: int | None

    @property
    def how(self) -> str:
        """The end in words."""
        if self.exit_code is not None and self.exit_code < 0:
            name = signal.Signals(-self.exit_code).name
            return f"the worker process was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        return f"the worker process ended with status {self.exit_code}"


class _Pool:
    """Workers with a pipe to each.

    Pipes rather than a shared queue: what a worker sent can be read after its death, and a worker that dies cannot
    leave a lock behind that stops the others.
    """

    def __init__(self, options: RunOptions, dataset: Dataset, out: Path) -> None:
        self.options, self.dataset, self.out = options, dataset, out
        self.spawn = multiprocessing.get_context("spawn")
        self.processes: dict[int, BaseProcess] = {}
        self.pipes: dict[int, Connection] = {}
        self.jobs: dict[int, _Job] = {}

    def start(self, worker: int) -> None:
        here, there = self.spawn.Pipe()
        arguments = (worker, self.options, self.dataset, self.out, there, os.getpid(), plugin_files())
        process = self.spawn.Process(target=_work, args=arguments, daemon=True)
        # Only an attack that is defined in the user's script needs that script in the worker.
        with nullcontext() if "__main__:" in self.options.attacks else without_main():
            process.start()
        there.close()
        self.processes[worker], self.pipes[worker] = process, here

    def idle(self) -> list[int]:
        return [worker for worker in self.processes if worker not in self.jobs]

    def give(self, worker: int, task: Task) -> None:
        self.jobs[worker] = _Job(task)
        with suppress(OSError):  # a dead worker is noticed in ``heard``
            self.pipes[worker].send(task)

    def heard(self) -> Iterator[tuple[Event | None, _Death | None]]:
        """Wait for messages; yield an event of each worker that sent one, and the death of each that ended."""
        ready = wait(self.pipes.values())
        for worker in [worker for worker, pipe in self.pipes.items() if pipe in ready]:
            try:
                event: Event | None = self.pipes[worker].recv()
            except (EOFError, OSError):
                yield None, self._buried(worker)
                continue
            if event is None:
                self.jobs.pop(worker, None)
            else:
                self.jobs[worker].note(event)
                yield event, None

    def _buried(self, worker: int) -> _Death | None:
        """Start a worker in place of one that ended; return the death where it had a job."""
        process, job = self.processes[worker], self.jobs.pop(worker, None)
        process.join()
        self.pipes[worker].close()
        self.start(worker)
        return None if job is None else _Death(job, process.exitcode)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.join(timeout=5)
        for pipe in self.pipes.values():
            pipe.close()


@contextmanager
def without_main() -> Iterator[None]:
    """Hide the main module's file and name, so that a process that is started meanwhile does not run it again."""
    main = sys.modules["__main__"]
    kept: dict[str, Any] = {name: vars(main)[name] for name in ("__file__", "__spec__") if name in vars(main)}
    for name in kept:
        delattr(main, name)
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(kept)


def _blame(death: _Death, options: RunOptions, dataset: Dataset) -> Iterator[Event]:
    """Yield the failed record of the measure, or of the model, at which a worker died; none if it only lost its GPU."""
    job = death.job
    if not job.environment or death.exit_code == _DEVICE_LOST:
        return
    # A worker's memory of a GPU is known from the records that it sent; its ordinary memory from the system.
    peak = job.gpu_memory if job.on_gpu else peak_memory_of_children()
    if not job.model_digest:
        yield from load_failure(job.task, options, death.how, job.environment, peak)
    elif pairs := job.rest().pairs:
        yield broken_off(job.task, options, dataset, pairs[0], job.model_digest, death.how, job.environment, peak)


def _work(
    worker: int,
    options: RunOptions,
    dataset: Dataset,
    out: Path,
    pipe: Connection,
    parent: int,
    plugins: Sequence[Path],
) -> None:  # pragma: no cover - runs in a process of its own
    """Measure tasks as they come, until the parent or the GPU is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)
    warnings.simplefilter("ignore", PluginWarning)  # the parent process has shown it
    load_plugins(plugins)
    with suppress(EOFError, BrokenPipeError):  # the parent has gone
        while True:
            task = pipe.recv()
            try:
                for event in measure_model(task, options, dataset, out, worker):
                    pipe.send(event)
            except DeviceLostError:
                os._exit(_DEVICE_LOST)
            except MachineError as fault:  # the parent stops all workers
                pipe.send(Event("fault", fault))
            pipe.send(None)
