"""The queue of blocks."""

from dataclasses import replace

from measurebench.core.config import RunConfig
from measurebench.core.specs import ModelSpec
from measurebench.core.threat import ThreatModel
from measurebench.engine.plan import Task
from measurebench.engine.scheduling.queue import BlockQueue

CONFIG = RunConfig("digits", "0", "0", ThreatModel.parse("Linf", "8/255"), 0, "exact", 1, {})


def block(model: str, *measures: str) -> Task:
    return Task(ModelSpec(id=model, source="local", locator=model), "", CONFIG, tuple((m, "test") for m in measures))


def test_without_costs_blocks_go_out_in_the_order_given() -> None:
    tasks = [block("a", "x"), block("b", "x"), block("c", "x")]
    queue = BlockQueue(tasks)
    assert [queue.take(0), queue.take(1), queue.take(0)] == tasks
    assert not queue.waiting
    assert queue.take(1) is None


def test_the_costliest_model_is_begun_first_and_kept_by_its_worker() -> None:
    tasks = [block("a", "x"), block("b", "x"), block("b", "y"), block("c", "x")]
    cost = {"a": 4.0, "b": 3.0, "c": 5.0}
    queue = BlockQueue(tasks, lambda task: cost[task.spec.id])
    assert queue.take(0) == tasks[1]  # b has 6 in all
    assert queue.take(1) == tasks[3]
    assert queue.take(0) == tasks[2]  # b is loaded there


def test_an_idle_worker_helps_with_a_model_under_way_once_every_model_is_begun() -> None:
    tasks = [block("a", "x"), block("a", "y"), block("b", "x")]
    queue = BlockQueue(tasks, lambda task: float(len(task.pairs)))
    assert [queue.take(0), queue.take(1), queue.take(1)] == [tasks[0], tasks[2], tasks[1]]


def test_the_rest_of_a_block_whose_worker_died_goes_first() -> None:
    tasks = [block("a", "x", "y"), block("b", "x")]
    queue = BlockQueue(tasks)
    taken = queue.take(0)
    assert taken is not None
    rest = replace(taken, pairs=taken.pairs[1:])
    queue.give_back(rest, 0)
    assert queue.take(1) == rest
    assert queue.take(0) == tasks[1]
