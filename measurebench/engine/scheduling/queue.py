"""Hands out the blocks of a run: the costliest first, and to each worker those of the model that it has loaded."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from measurebench.core.records import ModelKey
from measurebench.engine.plan import Part, Task

__all__ = ["RECORDING", "BlockQueue"]

# A block that is more than this share of what is left for each worker is divided, so that blocks shrink with the work
# that is left, as in guided self-scheduling (Polychronopoulos and Kuck 1987). It matters where predictions are bad: one
# block that takes many times what was predicted may run when all others are done. With log-normal errors of sigma 1,
# 64 workers do 52 % of what they could at a half, and 82 % at a tenth (benchmarks/scheduling.py).
_SHARE = 0.1
RECORDING = 0.02  # of a divided block's cost: judging what the parts have found


_Accuracy = tuple[ModelKey, str, str]  # an attack's accuracy on a split, of one model


@dataclass
class _Model:
    """The blocks of a model that are not given out, with their costs, the costliest first."""

    blocks: list[tuple[float, Task]] = field(default_factory=list)

    @property
    def total(self) -> float:
        return sum(cost for cost, _ in self.blocks)

    def add(self, cost: float, task: Task) -> None:
        self.blocks.append((cost, task))
        self.blocks.sort(key=lambda block: -block[0])  # stable: equal costs keep their order


@dataclass
class _Divided:
    """A block that was divided: its cost, and the parts that are not done."""

    cost: float
    task: Task
    parts: set[Part]


class BlockQueue:
    """The blocks that are still to be measured, and which worker has which.

    ``costs`` predicts the seconds of a block; without it all cost the same and go out in the order given. A worker
    keeps to the model that it has loaded while that model has blocks. Then it begins the costliest model that nobody
    has begun, and where there is none it helps with the model under way that has most to do. Towards the end, attacks
    are divided into parts; the block itself, which records the accuracy, goes out when all parts are done.
    ``workers`` is their number, if it is known before they ask.
    """

    def __init__(
        self, tasks: Sequence[Task], costs: Callable[[Task], float] | None = None, *, workers: int = 0
    ) -> None:
        self._workers: set[int] = set(range(workers))
        self._models: dict[ModelKey, _Model] = {}
        for task in tasks:
            self._models.setdefault(task.model_key, _Model()).add(costs(task) if costs else 1.0, task)
        totals = {key: model.total for key, model in self._models.items()}
        self._left = sum(totals.values())
        # The costliest last, from where it is taken; of equal ones the first.
        self._fresh = sorted(totals, key=lambda key: -totals[key])[::-1]
        self._begun: set[ModelKey] = set()  # models under way that have blocks to give
        self._returned: deque[Task] = deque()
        self._divided: dict[_Accuracy, _Divided] = {}
        self._searched: set[_Accuracy] = set()  # those whose parts are done: they are not divided again
        self._loaded: dict[int, ModelKey] = {}
        self._held: dict[int, Task] = {}

    @property
    def waiting(self) -> bool:
        """Whether there are blocks that no worker has been given."""
        return bool(self._returned or self._models or self._divided)

    def take(self, worker: int) -> Task | None:
        """Return the next block for a worker, None where there is none that it could begin now.

        A worker has one block at a time, so whatever it was given before counts as ended.
        """
        self._workers.add(worker)
        self._end(worker)
        if self._is_stuck():  # parts were lost: their blocks do the work of those parts too
            for key in list(self._divided):
                self._record(key)
        task = self._returned.popleft() if self._returned else self._next(worker)
        if task is not None:
            self._held[worker], self._loaded[worker] = task, task.model_key
        return task

    def give_back(self, task: Task, worker: int | None = None) -> None:
        """Take back the rest of a block whose worker died; it is the next to go out."""
        self._returned.append(task)
        if worker is not None:
            self._held.pop(worker, None)
            self._loaded.pop(worker, None)

    def finished(self, task: Task, worker: int) -> None:
        """Note that a worker is done with a block: measured, or its worker died and left nothing to give back."""
        if self._held.get(worker) == task:
            self._end(worker)

    def drop(self, model_id: str, config_digest: str) -> None:
        """Forget the blocks of a model that cannot be loaded."""

        def of_it(key: ModelKey) -> bool:
            return (key[0], key[2]) == (model_id, config_digest)

        for key in filter(of_it, list(self._models)):
            self._left -= self._models.pop(key).total
            self._begun.discard(key)
        self._divided = {key: divided for key, divided in self._divided.items() if not of_it(key[0])}
        self._returned = deque(task for task in self._returned if not of_it(task.model_key))

    def _next(self, worker: int) -> Task | None:
        """Remove and return the block that suits a worker best; one that is too long goes out in parts."""
        key = self._choice(worker)
        if key is None:
            return None
        cost, task = self._models[key].blocks.pop(0)
        self._begun.add(key)
        if task.parts and self._is_long(cost) and _accuracy(task, task.parts[0]) not in self._searched:
            self._divide(cost, task)
            cost, task = self._models[key].blocks.pop(0)
        self._left -= cost
        if not self._models[key].blocks:
            del self._models[key]
            self._begun.discard(key)
        return task

    def _choice(self, worker: int) -> ModelKey | None:
        """Return the model that a worker goes on with."""
        own = self._loaded.get(worker)
        if own in self._begun:
            return own
        while self._fresh:
            key = self._fresh.pop()
            if key in self._models:  # not dropped
                return key
        return max(self._begun, key=lambda key: (self._models[key].total, key), default=None)

    def _is_stuck(self) -> bool:
        """Tell whether nothing is under way that could end a divided block."""
        return not self._held and not self._models and not self._returned

    def _is_long(self, cost: float) -> bool:
        workers = len(self._workers)
        return workers > 1 and cost > _SHARE * self._left / workers

    def _divide(self, cost: float, task: Task) -> None:
        """Put the parts of a block in its place, with its cost in equal shares."""
        model, share = self._models[task.model_key], (1 - RECORDING) * cost / len(task.parts)
        for part in task.parts:
            name = f"{task.block} {part.start}-{part.stop}"
            model.add(share, replace(task, pairs=(), parts=(), part=part, block=name))
        self._left -= RECORDING * cost
        self._divided[_accuracy(task, part)] = _Divided(RECORDING * cost, task, set(task.parts))

    def _end(self, worker: int) -> None:
        """Note that a worker's block has ended; the last part of a divided block brings the block itself."""
        task = self._held.pop(worker, None)
        if task is None or task.part is None:
            return
        key = _accuracy(task, task.part)
        if (divided := self._divided.get(key)) is not None:
            divided.parts.discard(task.part)
            if not divided.parts:
                self._record(key)

    def _record(self, key: _Accuracy) -> None:
        """Let the block go out that records what the parts have found."""
        divided = self._divided.pop(key)
        self._searched.add(key)
        self._models.setdefault(key[0], _Model()).add(divided.cost, divided.task)
        self._left += divided.cost
        self._begun.add(key[0])


def _accuracy(task: Task, part: Part) -> _Accuracy:
    return task.model_key, part.measure, part.split
