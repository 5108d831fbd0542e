"""Workers in processes of this machine: one single-threaded per core, or one per GPU.

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
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from measurebench.core.errors import MeasurebenchError
from measurebench.core.plugins import PluginWarning, load_plugins, plugin_files
from measurebench.core.processes import end_with
from measurebench.datasets import Dataset
from measurebench.engine.executors.protocol import Death, Finished, News, Told
from measurebench.engine.model_run import DeviceLostError, Event, measure_model
from measurebench.engine.options import RunOptions
from measurebench.engine.peak_memory import peak_memory_of_children
from measurebench.engine.plan import Task

__all__ = ["LocalPool", "how_it_ended", "without_main"]

_GRACE_SECONDS = 5.0  # for a worker to end by itself
_DEVICE_LOST = 75  # exit status of a worker that can no longer use its GPU; its records are all written
# Signals by which a system or a person asks a process to end; no measure ends its own process with them.
_POLITE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class LocalPool:
    """Worker processes with a pipe to each.

    Pipes rather than a shared queue: what a worker sent can be read after its death, and a worker that dies cannot
    leave a lock behind that stops the others.
    """

    # A process of this machine that dies alone was most likely killed for its memory, and would be again.
    tries = 1

    def __init__(self, options: RunOptions, dataset: Dataset, out: Path, n_workers: int) -> None:
        self._options, self._dataset, self._out = options, dataset, out
        self._spawn = multiprocessing.get_context("spawn")
        self._processes: dict[int, BaseProcess] = {}
        self._pipes: dict[int, Connection] = {}
        self._busy: set[int] = set()
        try:
            for worker in range(n_workers):
                self._start(worker)
        except BaseException:
            self.stop()
            raise

    def _start(self, worker: int) -> None:
        here, there = self._spawn.Pipe()
        arguments = (worker, self._options, self._dataset, self._out, there, os.getpid(), plugin_files())
        process = self._spawn.Process(target=_work, args=arguments, daemon=True)
        # Only an attack that is defined in the user's script needs that script in the worker.
        with nullcontext() if "__main__:" in self._options.attacks else without_main():
            process.start()
        there.close()
        self._processes[worker], self._pipes[worker] = process, here

    def idle(self) -> list[int]:
        """Return the workers without a task."""
        return [worker for worker in self._processes if worker not in self._busy]

    def place(self, worker: int) -> str:  # noqa: ARG002 - all are here
        """Return nothing: workers are on this machine."""
        return ""

    def give(self, worker: int, task: Task) -> None:
        """Send a task to a worker."""
        self._busy.add(worker)
        with suppress(OSError):  # a dead worker is noticed in ``heard``
            self._pipes[worker].send(task)

    def heard(self, timeout: float | None) -> Iterator[News]:
        """Wait for messages; yield one of each worker that sent some, and the death of each that ended."""
        ready = wait(self._pipes.values(), timeout)
        for worker in [worker for worker, pipe in self._pipes.items() if pipe in ready]:
            try:
                event: Event | None = self._pipes[worker].recv()
            except (EOFError, OSError):
                yield self._buried(worker)
                continue
            if event is None:
                self._busy.discard(worker)
            yield Finished(worker) if event is None else Told(worker, event)

    def _buried(self, worker: int) -> Death:
        """Start a worker in place of one that ended, and return how it ended."""
        process = self._processes[worker]
        process.join()
        self._pipes[worker].close()
        self._busy.discard(worker)
        self._start(worker)
        code = process.exitcode
        blames = code not in (_DEVICE_LOST, *(-number for number in _POLITE))
        return Death(worker, how_it_ended(code), blames, peak_memory_of_children())

    def stop(self) -> None:
        """End all worker processes.

        An idle worker ends by itself when its pipe closes, and so gives back the semaphores that libraries hold.
        """
        for worker in self._busy & set(self._processes):
            self._processes[worker].terminate()
        for pipe in self._pipes.values():
            pipe.close()
        for process in self._processes.values():
            process.join(_GRACE_SECONDS)
            if process.is_alive():
                process.terminate()
                process.join(_GRACE_SECONDS)


def how_it_ended(exit_code: int | None) -> str:
    """Return the end of a worker process in words.

    >>> how_it_ended(3)
    'the worker process ended with status 3'
    """
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"the worker process was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"the worker process ended with status {exit_code}"


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
    # Ctrl-C, and Slurm's word that the time is nearly up, reach every process of the job; the parent ends the workers.
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
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
            except MeasurebenchError as fault:  # a fault of the machine; the parent stops all workers
                pipe.send(Event("fault", fault))
            pipe.send(None)
