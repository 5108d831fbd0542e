"""What a worker on another machine does: it measures in a folder of its own and sends everything home as events."""

import os
import pickle
import queue
import socket
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError, MeasurebenchError
from measurebench.core.packages import own_version
from measurebench.core.plugins import PluginWarning, load_plugins
from measurebench.datasets import Dataset
from measurebench.engine.environment import HOST_VARIABLE
from measurebench.engine.executors.scratch import Scratch, files_below
from measurebench.engine.model_run import DeviceLostError, Event, measure_model
from measurebench.engine.options import RunOptions
from measurebench.engine.plan import Task
from measurebench.models.identity import architecture_file
from measurebench.store.adversarial import adversarial_path
from measurebench.store.examples import block_path

__all__ = ["Job", "RemoteWorker", "Shared", "earlier_files", "visible_files"]

# A long attack writes what it has done as it goes; this often it is sent home, and a lost node costs no more than that.
_SEND_SECONDS = 2.0


@dataclass(frozen=True)
class Shared:
    """What all workers of a run need: sent once to each machine.

    ``folder`` is the driver's working folder, against which relative paths are meant; ``version`` is its measurebench.
    """

    options: RunOptions
    dataset: Dataset
    plugins: Sequence[Path]
    folder: str
    version: str


@dataclass(frozen=True)
class Job:
    """A task with the files that it goes on from and that the worker lacks, by their paths in the results folder.

    ``keeps`` says that the worker's own files are of the same model. ``must_see`` are the files that the driver sees
    and the worker must see too; ``host`` is what records call the worker's machine.
    """

    task: Task
    files: Mapping[str, bytes]
    keeps: bool
    must_see: tuple[str, ...]
    host: str


class RemoteWorker:
    """Measures tasks one after another in a process on any machine; knows nothing of what brings the tasks.

    ``packed`` is a pickled ``Shared``: bytes, since arrays that come out of a shared memory cannot be written to.
    """

    def __init__(self, packed: bytes) -> None:
        self._shared: Shared = pickle.loads(packed)
        with suppress(OSError):  # a machine without that folder has the models at absolute paths, or not at all
            os.chdir(self._shared.folder)
        warnings.simplefilter("ignore", PluginWarning)  # the driver has shown it
        load_plugins(self._shared.plugins)
        self._scratch = Scratch()
        self._thread = ThreadPoolExecutor(1)  # one for all tasks: a model stays loaded, and on its GPU, between them

    def about(self) -> dict[str, Any]:
        """Return this worker's machine, process and version of measurebench."""
        return {"host": socket.gethostname(), "pid": os.getpid(), "version": own_version()}

    def measure(self, job: Job) -> Iterator[Event]:
        """Yield the events of a task, and the files that it writes, each before the record that it belongs to.

        A file is an event of the kind "file" with its path in the results folder and its content. "fault" carries an
        error that ends the run, "lost" says that this process can no longer use its GPU.
        """
        os.environ[HOST_VARIABLE] = job.host
        if problem := self._unfit(job):
            yield Event("fault", problem)
            return
        self._scratch.fill(job.files, keeps=job.keeps)
        arriving: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
        self._thread.submit(self._work, job.task, arriving)
        while True:
            try:
                item = arriving.get(timeout=_SEND_SECONDS)
            except queue.Empty:
                yield from self._files()
                continue
            if item is None:
                yield from self._files()
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        """Remove what this worker has written on its machine."""
        self._scratch.remove()

    def _unfit(self, job: Job) -> MeasurebenchError | None:
        """Return what is wrong with this machine, None where it can measure the task."""
        if self._shared.version != own_version():
            where, hint = f"measurebench on {job.host}", "install the same version on all nodes"
            return BadInputError(where, f"version {self._shared.version}, as here", own_version(), hint)
        for path in job.must_see:
            if not Path(path).exists():
                hint = "put it on storage that all nodes share, under the same path"
                return BadInputError(path, f"a file that {job.host} can read", "no such file there", hint)
        return None

    def _work(self, task: Task, arriving: "queue.SimpleQueue[Event | BaseException | None]") -> None:
        """Measure a task in a thread of its own, so that files can be sent while a measure takes its time."""
        shared = self._shared
        try:
            for event in measure_model(task, shared.options, shared.dataset, self._scratch.path):
                if event.kind == "record":
                    for file in self._files():
                        arriving.put(file)
                arriving.put(event)
        except DeviceLostError:
            arriving.put(Event("lost", None))
        except MeasurebenchError as fault:
            arriving.put(Event("fault", fault))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that sends
            traceback.print_exc()
            arriving.put(error)
        arriving.put(None)

    def _files(self) -> Iterator[Event]:
        for name, content in self._scratch.changed().items():
            yield Event("file", (name, content))


def earlier_files(task: Task, options: RunOptions, out: Path) -> list[str]:
    """Return the files of a results folder that measuring a task goes on from, as paths in the folder."""
    config = task.config.digest()
    blocks = block_path(out, task.model_digest, config, "any").parent
    images = adversarial_path(out, task.spec.id, config, "train", "any").parent
    return files_below(out, blocks, *([images] if options.save_adversarial else []))


def visible_files(task: Task) -> tuple[str, ...]:
    """Return the files that a task reads and that this process sees: weights, code that builds networks, images."""
    spec = task.spec
    named = [spec.initial, architecture_file(spec), *task.supplied.values()]
    named += [spec.locator] if spec.source != "robustbench" else []
    return tuple(str(Path(path).absolute()) for path in named if path and Path(path).exists())
