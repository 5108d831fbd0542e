"""A queue of blocks that processes on several machines share through the results folder."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from measurebench.core.digests import digest_json
from measurebench.core.records import Record
from measurebench.engine.plan import Pair, Task
from measurebench.engine.scheduling.queue import BlockQueue
from measurebench.store.claims import Claims
from measurebench.store.following import RecordFollower

__all__ = ["SharedQueue"]

_LOOK_SECONDS = 2.0  # between two looks at the blocks that others have
_Value = tuple[str, str, str, str]  # a model, a configuration, a measure and a split


class SharedQueue(BlockQueue):
    """The blocks of a run of which each is measured by one of several processes, which plan the same run.

    A block goes out once it is claimed. What others have recorded by then is taken out of it. Blocks that others have
    are looked at again until they are done or their owner is gone, so that the run ends when everything is measured.
    ``heard`` is told of each record of others.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        costs: Callable[[Task], float] | None,
        claims: Claims,
        others: RecordFollower,
        *,
        workers: int = 0,
        heard: Callable[[dict[str, Any]], None] = lambda _: None,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        super().__init__(tasks, costs, workers=workers)
        self._tell = heard
        self._claims, self._others, self._look_seconds = claims, others, look_seconds
        self._elsewhere: list[Task] = []
        self._known: set[_Value] = set()
        self._claimed: dict[int, Task] = {}
        self._owners: dict[_Value, str] = {}
        self._looked = 0.0

    @property
    def waiting(self) -> bool:
        """Whether there are blocks that no worker of this process has been given, and that are not known to be done."""
        return super().waiting or bool(self._elsewhere)

    def take(self, worker: int) -> Task | None:
        """Return the next block for a worker, claimed, or None where others have all that is left."""
        self._give_up(worker)
        self._hear()
        model = self._loaded.get(worker)
        while True:
            task = super().take(worker)
            if task is None:
                if not self._look_again():
                    return None
                continue
            if model is not None:
                self._loaded[worker] = model  # the worker keeps to what it has loaded until it gets another block
            else:
                del self._loaded[worker]
            if self._is_done(task):
                continue  # the next ``take`` counts it as ended
            if not self._claims.claim(_name(task)):
                self._elsewhere.append(task)
                self._held.pop(worker)
                continue
            self._claimed[worker] = task
            self._hear()  # its last owner may have recorded something just before it was claimed
            if self._is_done(task):
                self._give_up(worker)
                continue
            return self._begun_with(worker, task)

    def finished(self, task: Task, worker: int) -> None:
        """Note that a worker is done with a block; its records are on the disk."""
        self._give_up(worker)
        super().finished(task, worker)

    def owns(self, record: Record) -> bool:
        """Tell whether a record is this process's to write: not where its block was taken over meanwhile."""
        name = self._owners.get((record.model_id, record.config_digest, record.measure, record.split))
        return name is None or self._claims.holds(name)

    def _is_long(self, cost: float) -> bool:  # noqa: ARG002 - all processes must divide alike
        return True

    def _is_stuck(self) -> bool:
        return super()._is_stuck() and not self._elsewhere

    def _begun_with(self, worker: int, task: Task) -> Task:
        """Return a claimed block without the pairs that are on record."""
        rest = replace(task, pairs=tuple(pair for pair in task.pairs if self._value(task, pair) not in self._known))
        self._owners |= {self._value(task, pair): _name(task) for pair in rest.pairs}
        self._held[worker], self._loaded[worker] = rest, rest.model_key
        return rest

    def _give_up(self, worker: int) -> None:
        """Release the block that a worker had."""
        task = self._claimed.pop(worker, None)
        if task is not None:
            if not task.pairs:
                self._claims.note_done(_name(task))
            self._claims.release(_name(task))

    def _value(self, task: Task, pair: Pair) -> _Value:
        return task.spec.id, task.config.digest(), *pair

    def _is_done(self, task: Task) -> bool:
        if not task.pairs:
            return self._claims.is_done(_name(task))
        return all(self._value(task, pair) in self._known for pair in task.pairs)

    def _hear(self) -> None:
        """Take note of what others have recorded."""
        for line in self._others.news():
            key = _key_of(line)
            if line.get("measure") == "load":
                self.drop(key[0], key[1])
                mine = [task for task in self._elsewhere if (task.spec.id, task.config.digest()) != key[:2]]
                self._elsewhere = mine
            self._known.add(key)
            self._tell(line)

    def _look_again(self) -> bool:
        """Bring back the blocks that nobody has any more; return whether there are any."""
        if time.monotonic() - self._looked < self._look_seconds:
            return False
        self._looked = time.monotonic()
        self._hear()
        free = [task for task in self._elsewhere if self._is_done(task) or not self._claims.is_taken(_name(task))]
        self._elsewhere = [task for task in self._elsewhere if task not in free]
        self._returned.extend(free)
        return bool(free)


def _key_of(line: dict[str, Any]) -> _Value:
    return str(line.get("model_id")), str(line.get("config_digest")), str(line.get("measure")), str(line.get("split"))


def _name(task: Task) -> str:
    """Return the name of a block's claim, the same in all processes.

    The digest of the weights is no part of it: a process that has not downloaded a model does not know it yet.
    """
    return digest_json([task.spec.id, task.config.digest(), task.block])
