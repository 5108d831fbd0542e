"""Hands tasks to the workers of any pool, and decides what becomes of a task whose worker died."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from measurebench.core.errors import MeasurebenchError
from measurebench.datasets import Dataset
from measurebench.engine.executors.protocol import Death, Finished, News, Pool, Told, WorkerState
from measurebench.engine.model_run import Event, broken_off, load_failure
from measurebench.engine.options import RunOptions
from measurebench.engine.plan import Pair, Task
from measurebench.engine.scheduling.queue import BlockQueue

__all__ = ["dispatch"]

_SILENT_DEATHS = 3  # workers that may end before they say anything of one task, or in a row without any task
_LOOK_AGAIN_SECONDS = 1.0  # a queue may have tasks that nobody can begin yet
_LOADING: Pair = ("load", "train")  # how the record of a model that cannot be loaded is called
_NO_TASK = ("", "")


@dataclass
class Job:
    """A task that a worker has, and what came of it so far."""

    task: Task
    environment: str = ""
    on_gpu: bool = False
    gpu_memory: int = 0
    model_digest: str = ""
    done: set[Pair] = field(default_factory=set)
    refusal: str | None = None  # why the worker could not load the model

    def note(self, event: Event) -> None:
        """Keep what an event says about the state of this task."""
        if event.kind == "environment":
            self.environment, self.on_gpu = event.value["digest"], event.value.get("device", "cpu") != "cpu"
        elif event.kind == "model" and not event.value["failure"]:
            self.model_digest = event.value["model_digest"]
        elif event.kind == "record" and (event.value.measure, event.value.split) == _LOADING:
            self.refusal = event.value.reason
        elif event.kind == "record":
            self.done.add((event.value.measure, event.value.split))
            self.gpu_memory = max(self.gpu_memory, event.value.peak_memory_bytes if self.on_gpu else 0)

    def rest(self) -> Task:
        """Return the task with the pairs still open."""
        return replace(self.task, pairs=tuple(pair for pair in self.task.pairs if pair not in self.done))


def dispatch(pool: Pool, queue: BlockQueue, options: RunOptions, dataset: Dataset) -> Iterator[Event]:
    """Yield the events of all tasks of a queue as they come from the workers of a pool.

    Whenever a worker begins, ends or is lost, an event of the kind "worker" says so, with a WorkerState.

    A task whose worker died, or could not load a model that others have loaded, is given to another one, without what
    is on record. Where as many workers as the pool allows died at the same measure, or while loading the same model,
    that becomes a failed record, which says how they died. The pool is stopped in the end, also when the caller stops
    listening. Raises MeasurebenchError where workers die before they begin, and the error with which a worker refused
    its task.
    """
    jobs = _Jobs(pool, queue, options, dataset)
    try:
        while queue.waiting or jobs.held:
            yield from jobs.hand_out()
            if not (queue.waiting or jobs.held):
                break  # other processes have measured what was left: no worker will say anything more
            for news in pool.heard(_LOOK_AGAIN_SECONDS if queue.waiting else None):
                yield from jobs.hear(news)
    finally:
        pool.stop()


class _Jobs:
    """Who has which task, and what was heard of it."""

    def __init__(self, pool: Pool, queue: BlockQueue, options: RunOptions, dataset: Dataset) -> None:
        self.pool, self.queue, self.options, self.dataset = pool, queue, options, dataset
        self.held: dict[int, Job] = {}
        self.deaths = Counter[tuple[str, str, Pair]]()  # by model, configuration and measure
        self.silent = Counter[tuple[str, str]]()  # deaths before a task, by model and configuration, had begun
        self.loaded: dict[tuple[str, str], str] = {}  # digests of what some worker has loaded, by the same
        self.heard_of: set[int] = set()

    def hand_out(self) -> Iterator[Event]:
        """Give each idle worker a task, as far as there are tasks."""
        for worker in self.pool.idle():
            if (task := self.queue.take(worker)) is None:
                continue
            self.held[worker] = Job(task)
            self.pool.give(worker, task)
            yield self._state(worker, model_id=task.spec.id)

    def _state(self, worker: int, **what: str) -> Event:
        return Event("worker", WorkerState(worker, self.pool.place(worker), **what))

    def hear(self, news: News) -> Iterator[Event]:
        """Yield what follows from news for the journal and the screen."""
        if isinstance(news, Death):
            yield from self._bury(news)
        elif isinstance(news, Finished):
            if job := self.held.pop(news.worker, None):
                yield from self._ended(job, news.worker)
                yield self._state(news.worker)
        else:
            yield self._told(news)

    def _told(self, news: Told) -> Event:
        if news.event.kind == "fault":
            raise news.event.value
        self.heard_of.add(news.worker)
        self.silent.pop(_NO_TASK, None)
        job = self.held[news.worker]
        job.note(news.event)
        if job.model_digest:
            self.loaded[_model(job)] = job.model_digest
        return news.event

    def _ended(self, job: Job, worker: int) -> Iterator[Event]:
        """Put back what a worker has left of a task that it ended, if others can measure it.

        That is so where it could not load the model and others could: on its machine a file may be missing.
        """
        if self._left(job).pairs:
            why = (
                f"could not load the model: {job.refusal}"
                if job.refusal is not None
                else "ended the task without measuring it"
            )
            yield from self._blame(job, Death(worker, f"the worker on {self.pool.place(worker)} {why}"))
        self._put_back(job, worker)

    def _left(self, job: Job) -> Task:
        """Return what is left of a task; nothing of a model that nobody could load."""
        if job.refusal is not None and _model(job) not in self.loaded:
            return replace(job.task, pairs=())
        return job.rest()

    def _put_back(self, job: Job, worker: int) -> None:
        if (rest := self._left(job)).pairs:
            self.queue.give_back(rest, worker)
        else:
            self.queue.finished(job.task, worker)

    def _bury(self, death: Death) -> Iterator[Event]:
        """Yield the failed record of what a worker died at, if any, and put the rest of its task back."""
        job = self.held.pop(death.worker, None)
        yield self._state(death.worker, lost=death.how)
        if death.blames:
            self._count_silent(job, death)
        self.heard_of.discard(death.worker)
        if job is None:
            return
        yield from self._blame(job, death)
        self._put_back(job, death.worker)

    def _count_silent(self, job: Job | None, death: Death) -> None:
        if job.environment if job else death.worker in self.heard_of:
            return
        key = _model(job) if job else _NO_TASK
        self.silent[key] += 1
        if self.silent[key] == _SILENT_DEATHS:
            raise MeasurebenchError(f"workers end before they begin: {death.how}")

    def _blame(self, job: Job, death: Death) -> Iterator[Event]:
        """Yield the failed record of the measure, or of the model, at which too many workers died."""
        place = self._place(job)
        if not death.blames or place is None:
            return
        self.deaths[place] += 1
        if self.deaths[place] < self.pool.tries:
            return
        how = death.how if self.pool.tries == 1 else f"{death.how}, for the {_ordinal(self.deaths[place])} time"
        # A worker's memory of a GPU is known from the records that it sent; its ordinary memory from the pool.
        peak = job.gpu_memory if job.on_gpu else death.peak_memory_bytes
        for consequence in self._consequences(job, place[-1], how, peak):
            job.note(consequence)
            yield consequence

    def _consequences(self, job: Job, pair: Pair, how: str, peak: int) -> Iterator[Event]:
        """Yield the failed record of a measure, or the entry and the failed record of a model."""
        if pair == _LOADING:
            yield from load_failure(job.task, self.options, how, job.environment, peak)
        else:
            digest = self.loaded[_model(job)]
            yield broken_off(job.task, self.options, self.dataset, pair, digest, how, job.environment, peak)

    def _place(self, job: Job) -> tuple[str, str, Pair] | None:
        """Return model, configuration and measure at which a worker was; None before the first and after the last.

        A model that another worker has loaded is not to blame for a death while it was loaded again.
        """
        if not job.environment:
            return None
        pairs, is_loaded = self._left(job).pairs, _model(job) in self.loaded
        if (is_loaded or job.refusal is not None) and not pairs:
            return None
        return *_model(job), pairs[0] if is_loaded else _LOADING


def _model(job: Job) -> tuple[str, str]:
    """Return what tells a model of a run: its id, and the digest of its configuration."""
    return job.task.spec.id, job.task.config.digest()


def _ordinal(n: int) -> str:
    """Return a small number as a word."""
    return {1: "first", 2: "second", 3: "third"}.get(n, f"{n}th")
