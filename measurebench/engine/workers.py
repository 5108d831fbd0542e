"""Models side by side: one single-threaded process per core (or one per GPU), which end with their parent."""

import multiprocessing
import os
import queue
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from measurebench.core.processes import end_with
from measurebench.engine.options import RunOptions
from measurebench.engine.plan import Task

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Message:
    """From worker ``worker`` about task number ``task``: an Event, or None when the task is done."""

    worker: int
    task: int
    event: Any


def measure_in_workers(tasks: Sequence[Task], options: RunOptions, out: Path, n_workers: int) -> Iterator[Message]:
    """Yield the events of all tasks as they come; a worker that dies is replaced, and its task is reported.

    A task whose worker died (killed by the system for its memory, say) yields the string that says how.
    """
    pool = _Pool(options, out)
    waiting = list(range(len(tasks)))[::-1]
    try:
        for worker in range(min(n_workers, len(tasks))):
            pool.start(worker)
        while waiting or pool.busy:
            for worker in pool.idle():
                if waiting:
                    number = waiting.pop()
                    pool.give(worker, number, tasks[number])
            yield from pool.messages()
    finally:
        pool.stop()


class _Pool:
    def __init__(self, options: RunOptions, out: Path) -> None:
        self.options, self.out = options, out
        self.spawn = multiprocessing.get_context("spawn")
        self.processes: dict[int, BaseProcess] = {}
        self.inboxes: dict[int, Any] = {}
        self.outbox: Any = self.spawn.Queue()
        self.busy: dict[int, int] = {}

    def start(self, worker: int) -> None:
        self.inboxes[worker] = self.spawn.Queue()
        arguments = (worker, self.options, self.out, self.inboxes[worker], self.outbox, os.getpid())
        process = self.spawn.Process(target=_work, args=arguments, daemon=True)
        process.start()
        self.processes[worker] = process

    def idle(self) -> list[int]:
        return [worker for worker in self.processes if worker not in self.busy]

    def give(self, worker: int, number: int, task: Task) -> None:
        self.busy[worker] = number
        self.inboxes[worker].put((number, task))

    def messages(self) -> Iterator[Message]:
        """Yield what has come; wait a moment if nothing has, and look after the workers."""
        try:
            message = self.outbox.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            yield from self._bury()
            return
        if message.event is None:
            self.busy.pop(message.worker, None)
        yield message

    def _bury(self) -> Iterator[Message]:
        """Report and replace workers that died in the middle of a task."""
        for worker, process in list(self.processes.items()):
            if process.is_alive() or not self.outbox.empty():
                continue
            if worker in self.busy:
                yield Message(worker, self.busy.pop(worker), _death(process.exitcode))
            self.start(worker)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.join(timeout=5)
        self.outbox.cancel_join_thread()


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"the worker process was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"the worker process ended with status {exit_code}"


def _work(
    worker: int, options: RunOptions, out: Path, inbox: Any, outbox: Any, parent: int
) -> None:  # pragma: no cover - runs in a process of its own
    """Measure one task after the other, as long as the parent lives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)
    from measurebench.datasets import load_dataset
    from measurebench.engine.model_run import measure_model

    dataset = load_dataset(options.dataset, options.data_dir)
    while True:
        number, task = inbox.get()
        for event in measure_model(task, options, dataset, out, worker):
            outbox.put(Message(worker, number, event))
        outbox.put(Message(worker, number, None))
