"""Executors: the same blocks measured in this process, in processes of this machine, or on a Ray cluster."""

import time
from collections.abc import Iterator
from pathlib import Path

from measurebench.compute.devices import choose_device, n_workers
from measurebench.core.errors import BadInputError
from measurebench.datasets import Dataset
from measurebench.engine.executors.dispatcher import dispatch
from measurebench.engine.executors.protocol import Pool, WorkerState
from measurebench.engine.model_run import Event, measure_model
from measurebench.engine.options import RunOptions
from measurebench.engine.scheduling.queue import BlockQueue

__all__ = ["WorkerState", "measure_queue"]

_LOOK_AGAIN_SECONDS = 1.0


def measure_queue(queue: BlockQueue, n_tasks: int, options: RunOptions, dataset: Dataset, out: Path) -> Iterator[Event]:
    """Yield the events of all tasks of a queue, measured where ``options.executor`` says.

    ``n_tasks`` is how many tasks the queue holds, and so the most workers that could be of use. A single worker on a
    CPU is this process itself. Raises BadInputError for options that the executor cannot meet, MeasurebenchError where
    workers cannot start, and the MachineError that a worker met.
    """
    _check(options)
    workers = n_workers(options.workers, options.device, n_tasks) if options.executor == "local" else 0
    if not n_tasks:
        return
    # A GPU's errors can cost the process, so that a worker of its own is needed there.
    if options.executor == "local" and workers == 1 and choose_device(options.device) == "cpu":
        yield from _in_this_process(queue, options, dataset, out)
        return
    yield from dispatch(_pool(options, dataset, out, n_tasks, workers), queue, options, dataset)


def _check(options: RunOptions) -> None:
    """Refuse options of a cluster where there is none."""
    for name, usual in (("address", None), ("gpus_per_worker", 1.0)):
        if options.executor == "local" and getattr(options, name) != usual:
            option = f"--{name.replace('_', '-')}"
            raise BadInputError(option, "--executor ray beside it", "the local executor")


def _pool(options: RunOptions, dataset: Dataset, out: Path, n_tasks: int, workers: int) -> Pool:
    if options.executor == "ray":
        from measurebench.engine.executors.ray_pool import RayPool

        return RayPool(options, dataset, out, n_tasks)
    from measurebench.engine.executors.local import LocalPool

    return LocalPool(options, dataset, out, workers)


def _in_this_process(queue: BlockQueue, options: RunOptions, dataset: Dataset, out: Path) -> Iterator[Event]:
    while queue.waiting:
        if (task := queue.take(0)) is None:
            time.sleep(_LOOK_AGAIN_SECONDS)
            continue
        yield from measure_model(task, options, dataset, out)
        queue.finished(task, 0)
