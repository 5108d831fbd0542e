"""What the dispatcher asks of a pool of workers, wherever they run, and what it hears from one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from measurebench.engine.model_run import Event
from measurebench.engine.plan import Task

__all__ = ["Death", "Finished", "News", "Pool", "Told", "WorkerState"]


@dataclass(frozen=True)
class Told:
    """A worker said what happened while it measures its task."""

    worker: int
    event: Event


@dataclass(frozen=True)
class Finished:
    """A worker is done with its task and waits for another."""

    worker: int


@dataclass(frozen=True)
class Death:
    """A worker ended; the pool has put a new one in its place, under the same number.

    ``how`` tells the end in words. ``blames`` is False where the measure cannot have caused it: a GPU that was lost
    after its record was written, a node that was preempted. ``peak_memory_bytes`` is what the pool knows of the
    memory that the worker held, 0 where it knows nothing.
    """

    worker: int
    how: str
    blames: bool = True
    peak_memory_bytes: int = 0


@dataclass(frozen=True)
class WorkerState:
    """What a worker is doing, for whoever watches: measuring a model, waiting (no model), or ``lost`` and how.

    ``place`` names its machine where that is not this one.
    """

    worker: int
    place: str
    model_id: str = ""
    lost: str = ""


News = Told | Finished | Death


class Pool(Protocol):
    """Workers that measure one task at a time each, in processes of their own.

    ``tries`` is how many workers may die at one measure before the measure is recorded as failed.
    """

    tries: int

    def idle(self) -> list[int]:
        """Return the workers that can be given a task now."""
        ...

    def place(self, worker: int) -> str:
        """Return the name of a worker's machine, empty for this one."""
        ...

    def give(self, worker: int, task: Task) -> None:
        """Let an idle worker measure a task. A worker that has died meanwhile is reported by ``heard``."""
        ...

    def heard(self, timeout: float | None) -> Iterator[News]:
        """Wait for news, at most ``timeout`` seconds where it is given, and yield them in the order they happened."""
        ...

    def stop(self) -> None:
        """End all workers and give back what they hold; nothing is left running."""
        ...
