"""Workers on the nodes of a Ray cluster: one actor per GPU, or per core where there are none."""

import pickle
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError
from measurebench.core.files import write_atomically
from measurebench.core.packages import own_version
from measurebench.core.plugins import plugin_files
from measurebench.core.records import ModelKey
from measurebench.datasets import Dataset
from measurebench.engine.executors.protocol import Death, Finished, News, Told
from measurebench.engine.executors.ray_cluster import join
from measurebench.engine.executors.remote_worker import Job, RemoteWorker, Shared, earlier_files, visible_files
from measurebench.engine.options import RunOptions
from measurebench.engine.plan import Task

__all__ = ["RayPool", "RayWorker"]

_LONGEST_WAIT = 1.0  # seconds; then it is looked whether nodes have joined
_GROWTH_SECONDS = 5.0
_PROBE_SECONDS = 20.0  # after these, a worker that cannot be reached counts as lost
_CLOSE_SECONDS = 2.0
_STILLBORN = 20  # workers that may be lost in a row while they start: nodes may come and go faster than workers start


class RayWorker(RemoteWorker):
    """A worker that also knows on which of Ray's nodes it is."""

    def about(self) -> dict[str, Any]:
        """Return this worker's machine, node, process and version of measurebench."""
        import ray

        return {**super().about(), "node": ray.get_runtime_context().get_node_id()}


@dataclass
class _Actor:
    """A worker: ``awaited`` is the reply, or the stream of events, that it owes; None while it is idle.

    ``lost_at`` is set while it is not known whether it has died or only cannot be reached. ``files`` are those of the
    results folder that it has, with the time and size they had, all of the model ``model``.
    """

    handle: Any
    awaited: Any
    host: str = "a node"
    node: str = ""
    is_ready: bool = False
    lost_at: float | None = None
    model: ModelKey | None = None
    files: dict[str, tuple[int, int]] = field(default_factory=dict)


class RayPool:
    """Actors that measure, on whatever nodes Ray places them. They write no results: this process does.

    Ray does not restart actors itself (``max_restarts=0``), since only the dispatcher knows what is left of a task.
    Nodes that join get workers. ``n_tasks`` is the most workers that could be of use.
    """

    # On a cluster most deaths are no fault of the measure, and Ray does not always know why a process ended.
    tries = 3

    def __init__(self, options: RunOptions, dataset: Dataset, out: Path, n_tasks: int) -> None:
        if "__main__:" in options.attacks:
            raise BadInputError("--attacks", "functions of a module or a file that all nodes have", options.attacks)
        self._options, self._out, self._n_tasks = options, out, n_tasks
        self._cluster = join(options)
        self._ray: Any = self._cluster.ray
        self._actors: dict[int, _Actor] = {}
        self._stillborn = 0
        try:
            sent = replace(options, device=self._cluster.device)
            shared = Shared(sent, dataset, plugin_files(), str(Path.cwd()), own_version())
            self._shared = self._ray.put(pickle.dumps(shared))  # once; nodes copy it from each other
            self._grow()
        except BaseException:
            self.stop()
            raise

    def _grow(self) -> None:
        """Start as many workers as the cluster has room for."""
        self._grown_at = time.monotonic()
        for worker in range(len(self._actors), min(self._cluster.n_places(), self._n_tasks)):
            self._start(worker)

    def _start(self, worker: int) -> None:
        # Two calls at a time: a worker answers whether it is alive while it measures.
        rules = {"max_restarts": 0, "max_task_retries": 0, "max_concurrency": 2}
        handle = self._ray.remote(**rules, **self._cluster.place)(RayWorker).remote(self._shared)
        self._actors[worker] = _Actor(handle, handle.about.remote())

    def idle(self) -> list[int]:
        """Return the workers that have a node and no task."""
        return [worker for worker, actor in self._actors.items() if actor.is_ready and actor.awaited is None]

    def place(self, worker: int) -> str:
        """Return the name of a worker's node."""
        return self._actors[worker].host

    def give(self, worker: int, task: Task) -> None:
        """Send a task to a worker, with the files of earlier runs that it goes on from."""
        actor = self._actors[worker]
        # This process has asked whether code that a manifest names may run; nodes do not know the user's answer.
        sent = replace(task, spec=replace(task.spec, trust_code=True))
        keeps = actor.model == task.model_key
        job = Job(sent, self._lacking(actor, task, keeps), keeps, visible_files(task), actor.host)
        actor.awaited = actor.handle.measure.options(num_returns="streaming").remote(job)

    def _lacking(self, actor: _Actor, task: Task, keeps: bool) -> dict[str, bytes]:
        """Return the files of the results folder that a task goes on from and that a worker does not have."""
        actor.model, actor.files = task.model_key, actor.files if keeps else {}
        found = {}
        for name in earlier_files(task, self._options, self._out):
            if actor.files.get(name) != (state := _state(self._out / name)):
                actor.files[name], found[name] = state, (self._out / name).read_bytes()
        return found

    def heard(self, timeout: float | None) -> Iterator[News]:
        """Wait for news for a moment, also without a timeout, since nodes may join or be lost meanwhile."""
        if time.monotonic() - self._grown_at > _GROWTH_SECONDS:
            self._grow()
        awaiting = [(worker, actor.awaited) for worker, actor in self._actors.items() if actor.awaited is not None]
        for worker in self._ready(awaiting, _LONGEST_WAIT if timeout is None else min(timeout, _LONGEST_WAIT)):
            yield from self._news(worker)
        for worker, actor in list(self._actors.items()):
            if actor.lost_at is not None and time.monotonic() - actor.lost_at > _PROBE_SECONDS:
                yield self._buried(worker, "could not be reached any more", blames=False)

    def _ready(self, awaiting: list[tuple[int, Any]], seconds: float) -> list[int]:
        """Return the workers whose reply or next event is there, after waiting for the first of them."""
        things = [thing for _, thing in awaiting]
        if not things:
            time.sleep(seconds)
            return []
        if not self._ray.wait(things, num_returns=1, timeout=seconds)[0]:
            return []
        # Whatever else is there by now comes too, so that no worker waits behind a talkative one.
        ready = {id(thing) for thing in self._ray.wait(things, num_returns=len(things), timeout=0)[0]}
        return [worker for worker, thing in awaiting if id(thing) in ready]

    def _news(self, worker: int) -> Iterator[News]:
        """Yield the news of a worker whose reply or next event is there."""
        actor, errors = self._actors[worker], self._ray.exceptions
        try:
            if actor.lost_at is not None:
                self._ray.get(actor.awaited)
                yield self._buried(worker, "was cut off from this process", blames=False)  # what it said is lost
            elif actor.is_ready:
                yield from self._next(worker, actor)
            else:
                self._greet(actor)
        except errors.ActorUnavailableError:  # dead or cut off? Its answer, or Ray's, will tell
            actor.lost_at = actor.lost_at or time.monotonic()
            actor.awaited = actor.handle.about.remote()
        except errors.RayError as error:
            yield self._buried(worker, *self._cause(actor, error))

    def _greet(self, actor: _Actor) -> None:
        """Take in what a new worker says of itself."""
        about = self._ray.get(actor.awaited)
        actor.node, actor.host = about["node"], self._cluster.name_of(about["node"], about["host"])
        actor.is_ready, actor.awaited, self._stillborn = True, None, 0

    def _next(self, worker: int, actor: _Actor) -> Iterator[News]:
        """Yield the next event of a task; a file is written here, before the record that follows it."""
        if (reference := next(actor.awaited, None)) is None:
            actor.awaited = None
            yield Finished(worker)
            return
        event = self._ray.get(reference)
        if event.kind == "file":
            name, content = event.value
            write_atomically(self._out / name, content)
            actor.files[name] = _state(self._out / name)
        elif event.kind == "lost":
            yield self._buried(worker, "lost its GPU", blames=False)
        else:
            yield Told(worker, event)

    def _cause(self, actor: _Actor, error: Any) -> tuple[str, bool]:
        """Return in words how an actor ended, and whether what it was at may be to blame."""
        text = " ".join(str(error).split())
        if isinstance(error, self._ray.exceptions.RayTaskError) or getattr(error, "_actor_init_failed", False):
            return f"failed: {str(error).strip().splitlines()[-1][:300]}", True
        if getattr(error, "preempted", False) or (actor.node and not self._cluster.is_alive(actor.node)):
            return "was lost with its node", False
        if "ray.kill" in text:
            return "was ended by somebody else", False
        if not actor.is_ready:  # on which node is not known, nor whether that is still there
            self._stillborn += 1
            return "ended before it was ready", self._stillborn > _STILLBORN
        return "ended unexpectedly (out of memory, or a crash)", True

    def _buried(self, worker: int, how: str, blames: bool) -> Death:
        """Start a worker in place of one that ended or was given up."""
        actor = self._actors[worker]
        self._kill(actor)
        self._start(worker)
        return Death(worker, f"the worker on {actor.host} {how}", blames)

    def _kill(self, actor: _Actor) -> None:
        with suppress(Exception):  # whatever Ray says of an actor that is no more
            self._ray.kill(actor.handle)

    def stop(self) -> None:
        """End all actors, and the cluster where it was started for this run."""
        closing = [actor.handle.close.remote() for actor in self._actors.values() if actor.is_ready]
        with suppress(Exception):  # whatever has died need not be closed
            if closing:
                self._ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_SECONDS)
        for actor in self._actors.values():
            self._kill(actor)
        self._cluster.leave()


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
