"""The queue of blocks."""

from dataclasses import replace

from measurebench.core.config import RunConfig
from measurebench.core.specs import ModelSpec
from measurebench.core.threat import ThreatModel
from measurebench.engine.plan import Part, Task
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


def attack(model: str, n_parts: int) -> Task:
    parts = tuple(Part("aa", "test", 256 * k, 256 * (k + 1)) for k in range(n_parts))
    return replace(block(model, "aa"), parts=parts)


def test_a_long_attack_goes_out_in_parts_and_is_recorded_after_the_last() -> None:
    whole = attack("a", 3)
    queue = BlockQueue([whole], lambda task: 1.0 + len(task.pairs), workers=2)
    first, second = queue.take(0), queue.take(1)
    assert first is not None
    assert second is not None
    assert [first.part, second.part] == list(whole.parts[:2])
    assert (first.pairs, first.parts) == ((), ())
    queue.finished(first, 0)
    third = queue.take(0)
    assert third is not None
    assert third.part == whole.parts[2]
    queue.finished(second, 1)
    assert queue.take(1) is None  # a part is still being searched
    assert queue.waiting
    queue.finished(third, 0)
    assert queue.take(1) == whole
    assert not queue.waiting


def test_a_single_worker_gets_attacks_whole() -> None:
    whole = attack("a", 3)
    assert BlockQueue([whole], lambda task: 1.0 + len(task.pairs)).take(0) == whole


def test_a_part_whose_worker_died_is_left_to_the_block_that_records() -> None:
    whole = attack("a", 2)
    queue = BlockQueue([whole], workers=2)
    queue.take(0)
    queue.take(1)
    assert queue.take(0) is None  # a worker asks again only when its block has ended, in whatever way
    assert queue.take(1) == whole


def test_parts_that_were_lost_with_all_their_workers_do_not_stop_the_run() -> None:
    whole = attack("a", 2)
    queue = BlockQueue([whole], workers=2)
    taken = [queue.take(0), queue.take(1)]
    for worker, task in enumerate(taken):
        assert task is not None
        queue.give_back(task, worker)
    assert [queue.take(5), queue.take(5), queue.take(5)] == [*taken, whole]


def test_a_model_that_cannot_be_loaded_is_dropped_with_all_its_blocks() -> None:
    queue = BlockQueue([attack("a", 2), block("a", "x"), block("b", "x")], workers=2)
    first = queue.take(0)
    assert first is not None
    queue.drop("a", CONFIG.digest())
    queue.finished(first, 0)
    assert queue.take(1) == block("b", "x")
    assert not queue.waiting
