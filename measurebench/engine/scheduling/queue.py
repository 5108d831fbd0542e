"""Hands out the blocks of a run: the costliest first, and to each worker those of the model that it has loaded."""

from collections import Counter, deque
from collections.abc import Callable, Sequence

from measurebench.engine.plan import Task

__all__ = ["BlockQueue"]

_Model = tuple[str, str, str]  # id, digest of the weights, digest of the configuration


class BlockQueue:
    """The blocks that are still to be measured, and which worker has which.

    ``costs`` predicts the seconds of a block; without it blocks go out in the order given. A worker keeps to the model
    that it has loaded while that model has blocks. Then it begins the costliest model that nobody has begun, and where
    there is none it helps with the costliest block of a model that others have begun.
    """

    def __init__(self, tasks: Sequence[Task], costs: Callable[[Task], float] | None = None) -> None:
        self._costs = costs
        self._returned: deque[Task] = deque()
        self._models: dict[_Model, list[tuple[float, Task]]] = {}  # blocks not given out, the costliest first
        self._begun: set[_Model] = set()
        self._loaded: dict[int, _Model] = {}
        self._held: dict[int, Task] = {}
        for task in tasks:
            self._models.setdefault(_model(task), []).append((costs(task) if costs else 0.0, task))
        for blocks in self._models.values():
            blocks.sort(key=lambda block: -block[0])  # stable: equal costs keep the order given
        self._totals = Counter({model: sum(cost for cost, _ in blocks) for model, blocks in self._models.items()})

    @property
    def waiting(self) -> bool:
        """Whether there are blocks that no worker has been given."""
        return bool(self._returned or self._models)

    def take(self, worker: int) -> Task | None:
        """Return the next block for a worker, None where there is none that it could begin now.

        A worker has one block at a time, so whatever it was given before counts as ended.
        """
        self._held.pop(worker, None)
        task = self._returned.popleft() if self._returned else self._next(worker)
        if task is not None:
            self._held[worker], self._loaded[worker] = task, _model(task)
            self._begun.add(_model(task))
        return task

    def give_back(self, task: Task, worker: int | None = None) -> None:
        """Take back the rest of a block whose worker died; it is the next to go out."""
        self._returned.append(task)
        if worker is not None:
            self._held.pop(worker, None)
            self._loaded.pop(worker, None)

    def finished(self, task: Task, worker: int) -> None:
        """Note that a worker is done with a block: measured, or its worker died and left nothing to give back."""
        if self._held.get(worker) is task:
            del self._held[worker]

    def _next(self, worker: int) -> Task | None:
        """Remove and return the block that suits a worker best."""
        own = self._loaded.get(worker)
        if own not in self._models:
            own = max(self._models, key=self._urgency, default=None)
        if own is None:
            return None
        cost, task = self._models[own].pop(0)
        self._totals[own] -= cost
        if not self._models[own]:
            del self._models[own]
        return task

    def _urgency(self, model: _Model) -> tuple[bool, float]:
        return model not in self._begun, self._totals[model]


def _model(task: Task) -> _Model:
    return task.spec.id, task.model_digest, task.config.digest()
