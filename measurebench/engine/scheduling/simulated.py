"""Plays a run with a clock that only counts: the queue's real code, workers that take as long as they are told."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from measurebench.core.records import ModelKey
from measurebench.engine.plan import Task
from measurebench.engine.scheduling.queue import RECORDING, BlockQueue

__all__ = ["Played", "play"]


@dataclass(frozen=True)
class Played:
    """How a run went: its ``seconds``, the blocks measured, and how often a model was loaded.

    ``use`` is the share of the workers' time in which they had a block, until ``rest`` of the work was left to do.
    ``efficiency`` is the work divided by the time of all workers to the very end; loading models is no work.
    """

    seconds: float
    n_blocks: int
    n_loads: int
    use: float
    efficiency: float


@dataclass(frozen=True)
class _Span:
    """What one worker did at a time: from ``start`` to ``end``, of which ``work`` seconds at the end are measuring."""

    start: float
    end: float
    work: float

    def work_until(self, time: float) -> float:
        return max(0.0, min(self.work, time - (self.end - self.work)))

    def busy_until(self, time: float) -> float:
        return max(0.0, min(self.end, time) - self.start)


def play(
    queue: BlockQueue,
    workers: int,
    seconds: Callable[[Task], float],
    loading: Callable[[Task], float],
    rest: float = 0.05,
) -> Played:
    """Return how a run goes in which a block takes ``seconds``, and ``loading`` more where its model is not loaded.

    A block whose parts were searched beforehand takes ``RECORDING`` of its seconds.
    """
    searched = set[tuple[ModelKey, str]]()
    spans, loaded = list[_Span](), dict[int, ModelKey]()
    running: list[tuple[float, int, Task]] = []
    idle, now, n_loads = set(range(workers)), 0.0, 0
    while True:
        for worker in sorted(idle):
            if (task := queue.take(worker)) is None:
                continue
            idle.discard(worker)
            load = 0.0 if loaded.get(worker) == task.model_key else loading(task)
            n_loads += load > 0
            loaded[worker], work = task.model_key, seconds(task)
            if task.part is not None:
                searched.add((task.model_key, task.part.measure))
            elif task.parts and (task.model_key, task.parts[0].measure) in searched:
                work *= RECORDING
            spans.append(_Span(now, now + load + work, work))
            heapq.heappush(running, (now + load + work, worker, task))
        if not running:
            break
        now, worker, task = heapq.heappop(running)
        queue.finished(task, worker)
        idle.add(worker)
    return _told(spans, workers, now, n_loads, rest)


def _told(spans: Sequence[_Span], workers: int, end: float, n_loads: int, rest: float) -> Played:
    work = sum(span.work for span in spans)
    low, high = 0.0, end
    for _ in range(60):  # bisection for the time at which ``rest`` of the work is left
        middle = (low + high) / 2
        done = sum(span.work_until(middle) for span in spans)
        low, high = (middle, high) if done < (1 - rest) * work else (low, middle)
    use = sum(span.busy_until(high) for span in spans) / (workers * high)
    return Played(end, len(spans), n_loads, use, work / (workers * end))
