"""The dispatcher with a pool that follows a script: who gets what, and what becomes of a task whose worker died."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from measurebench.core.config import RunConfig
from measurebench.core.errors import MeasurebenchError
from measurebench.core.machine_faults import MachineError
from measurebench.core.specs import ModelSpec
from measurebench.core.threat import ThreatModel
from measurebench.engine.executors.dispatcher import dispatch
from measurebench.engine.executors.protocol import Death, Finished, News, Told, WorkerState
from measurebench.engine.model_run import Event
from measurebench.engine.options import RunOptions
from measurebench.engine.plan import Task
from measurebench.engine.scheduling.queue import BlockQueue
from tests.store.test_folder import record

PAIRS = (("clean_accuracy", "train"), ("average_ce", "train"), ("clean_accuracy", "test"))
CONFIG = RunConfig("d", "", "", ThreatModel.parse("Linf", "0.1"))
OPTIONS = RunOptions("digits", measures="average_ce", attacks="none")
DATA: Any = SimpleNamespace(split=lambda _name: range(40))

BEGUN = Event("environment", {"digest": "e"})
LOADED = Event("model", {"failure": "", "model_digest": "loaded"})
NOT_LOADED = Event("model", {"failure": "broken", "model_digest": "digest"})

Life = list[Event | Death]


def task(model: str = "m", pairs: Any = PAIRS) -> Task:
    return Task(ModelSpec(model, "memory", model), "digest", CONFIG, pairs)


def measured(measure: str, split: str, model: str = "m", **more: Any) -> Event:
    return Event("record", record(model_id=model, measure=measure, split=split, **more))


def whole(job: Task) -> Life:
    return [BEGUN, LOADED, *(measured(*pair, job.spec.id) for pair in job.pairs)]


def death(worker: int = 0, how: str = "it died", **more: Any) -> Death:
    return Death(worker, how, **more)


class ScriptedPool:
    """Workers that do what ``script`` says for a task: a list of events, which may end in a death.

    News come from one worker after another, one each time, as from processes.
    """

    def __init__(self, script: Callable[[int, Task], Life], n_workers: int = 1, tries: int = 1) -> None:
        self.script, self.n_workers, self.tries = script, n_workers, tries
        self.given: list[tuple[int, tuple[str, ...]]] = []
        self.lives: dict[int, Life] = {}
        self.stopped = 0

    def idle(self) -> list[int]:
        return [worker for worker in range(self.n_workers) if worker not in self.lives]

    def place(self, worker: int) -> str:
        return f"node-{worker}"

    def give(self, worker: int, job: Task) -> None:
        self.given.append((worker, tuple(f"{measure} {split}" for measure, split in job.pairs)))
        self.lives[worker] = list(self.script(worker, job))

    def heard(self, timeout: float | None) -> Iterator[News]:
        for worker, life in list(self.lives.items()):
            news = life.pop(0) if life else None
            if news is None or isinstance(news, Death):
                del self.lives[worker]
            yield Finished(worker) if news is None else news if isinstance(news, Death) else Told(worker, news)

    def stop(self) -> None:
        self.stopped += 1


def run(pool: ScriptedPool, *tasks: Task) -> list[Event]:
    return list(dispatch(pool, BlockQueue(tasks or [task()]), OPTIONS, DATA))


def records(events: list[Event]) -> list[tuple[str, str, str]]:
    return [(e.value.measure, e.value.split, e.value.status) for e in events if e.kind == "record"]


def lives(*scripts: Life) -> Callable[[int, Task], Life]:
    """Return a script for one worker: its lives one after another, then whole ones."""
    left = list(scripts)
    return lambda _worker, job: left.pop(0) if left else whole(job)


def test_every_task_goes_to_a_worker_and_every_event_comes_back() -> None:
    pool = ScriptedPool(lambda _worker, job: whole(job), n_workers=2)
    events = run(pool, task("a"), task("b"), task("c"))
    assert sorted(e.value.model_id for e in events if e.kind == "record") == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    assert [worker for worker, _ in pool.given] == [0, 1, 0]
    assert pool.stopped == 1


def test_the_rest_of_a_task_goes_to_another_worker_and_nothing_is_measured_twice() -> None:
    pool = ScriptedPool(lives([BEGUN, LOADED, measured(*PAIRS[0]), death()]))
    events = run(pool)
    assert [pairs for _, pairs in pool.given] == [
        ("clean_accuracy train", "average_ce train", "clean_accuracy test"),
        ("clean_accuracy test",),
    ]
    assert records(events) == [(*PAIRS[0], "measured"), (*PAIRS[1], "failed"), (*PAIRS[2], "measured")]


def test_a_death_while_measuring_fails_the_first_open_measure() -> None:
    events = run(ScriptedPool(lives([BEGUN, LOADED, measured(*PAIRS[0]), death(how="ended with status 3")])))
    (failed,) = [e.value for e in events if e.kind == "record" and e.value.status == "failed"]
    assert (failed.measure, failed.split, failed.model_digest) == ("average_ce", "train", "loaded")
    assert (failed.n, failed.environment_digest, failed.reason) == (40, "e", "ended with status 3")


def test_a_death_while_loading_fails_the_model_and_leaves_nothing_of_it() -> None:
    pool = ScriptedPool(lives([BEGUN, death(how="was killed")]))
    events = run(pool)
    assert [event.kind for event in events if event.kind != "worker"] == ["environment", "model", "record"]
    assert (events[-1].value.measure, events[-1].value.reason) == ("load", "was killed")
    assert len(pool.given) == 1


def test_a_model_that_cannot_be_loaded_is_not_tried_again_after_its_worker_died() -> None:
    pool = ScriptedPool(lives([BEGUN, NOT_LOADED, measured("load", "train"), death(blames=False)]))
    run(pool)
    assert len(pool.given) == 1


def two_blocks() -> tuple[Task, Task]:
    """The measures of the two splits, as two workers get them."""
    return task(pairs=PAIRS[:2]), task(pairs=PAIRS[2:])


def test_deaths_while_loading_what_others_have_loaded_leave_no_measure_open() -> None:
    """Three workers die while they load the model again: nobody records the measure unless the dispatcher does."""
    script = lives(whole(two_blocks()[0]), *[[BEGUN, death(how="was killed")]] * 3)
    events = run(ScriptedPool(script, tries=3), *two_blocks())
    assert records(events) == [(*PAIRS[0], "measured"), (*PAIRS[1], "measured"), (*PAIRS[2], "failed")]
    assert (events[-1].value.reason, events[-1].value.model_digest) == ("was killed, for the third time", "loaded")


def test_what_one_worker_cannot_load_another_measures() -> None:
    refused = [BEGUN, NOT_LOADED, measured("load", "train", status="failed", value=None, reason="no such file")]
    pool = ScriptedPool(lives(whole(two_blocks()[0]), refused), tries=3)
    events = run(pool, *two_blocks())
    assert ("clean_accuracy", "test", "measured") in records(events)
    assert len(pool.given) == 3


def test_what_no_worker_can_load_any_more_is_failed_and_says_why() -> None:
    refused = [BEGUN, NOT_LOADED, measured("load", "train", status="failed", value=None, reason="no such file")]
    silent = [BEGUN]  # a worker that has failed to load a model says nothing the next time
    events = run(ScriptedPool(lives(whole(two_blocks()[0]), refused, silent, silent), tries=3), *two_blocks())
    failed = [e.value for e in events if e.kind == "record" and e.value.status == "failed"][-1]
    assert (failed.measure, failed.split) == PAIRS[2]
    assert "node-0 ended the task without measuring it, for the third time" in failed.reason


def test_a_death_after_the_last_measure_fails_nothing() -> None:
    events = run(ScriptedPool(lives([*whole(task()), death()])))
    assert {status for *_, status in records(events)} == {"measured"}


def test_a_worker_that_only_lost_its_gpu_fails_nothing_more() -> None:
    events = run(ScriptedPool(lives([BEGUN, LOADED, measured(*PAIRS[0]), death(blames=False)])))
    assert records(events) == [(*pair, "measured") for pair in PAIRS]


def test_a_death_on_a_gpu_is_told_with_the_gpus_memory() -> None:
    begun = Event("environment", {"digest": "e", "device": "NVIDIA H100"})
    known = measured(*PAIRS[0], peak_memory_bytes=3 * 2**30)
    events = run(ScriptedPool(lives([begun, LOADED, known, death(peak_memory_bytes=5)])))
    assert [e.value.peak_memory_bytes for e in events if e.kind == "record"][1] == 3 * 2**30
    events = run(ScriptedPool(lives([BEGUN, LOADED, death(peak_memory_bytes=5)])))
    assert next(e.value.peak_memory_bytes for e in events if e.kind == "record") == 5


def test_where_several_tries_are_allowed_the_third_death_at_a_measure_fails_it() -> None:
    life: Life = [BEGUN, LOADED, death(how="ended")]
    pool = ScriptedPool(lives(life, life, life), tries=3)
    events = run(pool)
    assert records(events) == [(*PAIRS[0], "failed"), (*PAIRS[1], "measured"), (*PAIRS[2], "measured")]
    assert next(e.value.reason for e in events if e.kind == "record") == "ended, for the third time"
    assert [len(pairs) for _, pairs in pool.given] == [3, 3, 3, 2]


def test_deaths_that_blame_nobody_never_fail_a_measure() -> None:
    life: Life = [BEGUN, LOADED, death(blames=False)]
    events = run(ScriptedPool(lives(*[life] * 20), tries=1))
    assert records(events) == [(*pair, "measured") for pair in PAIRS]


def test_any_number_of_workers_and_deaths_gives_each_record_once() -> None:
    def script(worker: int, job: Task) -> Life:
        events = whole(job)
        return events if (worker + len(job.pairs)) % 3 else [*events[: len(events) - 1], death(worker, blames=False)]

    for n_workers in (1, 2, 5):
        events = run(ScriptedPool(script, n_workers), *(task(f"m{i}") for i in range(7)))
        found = [(e.value.model_id, e.value.measure, e.value.split) for e in events if e.kind == "record"]
        assert sorted(found) == sorted((f"m{i}", *pair) for i in range(7) for pair in PAIRS)


def test_workers_that_die_before_they_begin_end_the_run() -> None:
    pool = ScriptedPool(lambda worker, _job: [death(worker, "no such module")])
    with pytest.raises(MeasurebenchError, match="workers end before they begin: no such module"):
        run(pool)
    assert len(pool.given) == 3
    assert pool.stopped == 1


def test_a_task_that_no_worker_survives_ends_the_run_although_others_go_on() -> None:
    def script(worker: int, job: Task) -> Life:
        return [death(worker)] if job.spec.id == "poison" else whole(job)

    with pytest.raises(MeasurebenchError, match="workers end before they begin"):
        run(ScriptedPool(script, 2), task("poison"), *(task(f"m{i}") for i in range(9)))


def test_nodes_that_are_lost_before_they_begin_do_not_end_the_run() -> None:
    events = run(ScriptedPool(lives(*[[death(blames=False)]] * 9)))
    assert records(events) == [(*pair, "measured") for pair in PAIRS]


def test_a_fault_of_the_machine_ends_the_run_and_stops_the_workers() -> None:
    pool = ScriptedPool(lives([BEGUN, Event("fault", MachineError("the disk is full"))]))
    with pytest.raises(MachineError, match="the disk is full"):
        run(pool)
    assert pool.stopped == 1


def test_the_workers_are_stopped_where_the_caller_stops_listening() -> None:
    pool = ScriptedPool(lambda _worker, job: whole(job))
    events = dispatch(pool, BlockQueue([task()]), OPTIONS, DATA)
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert pool.stopped == 1


def test_it_is_told_what_each_worker_is_doing() -> None:
    events = run(ScriptedPool(lives([BEGUN, LOADED, death(how="it died", blames=False)])))
    states = [event.value for event in events if event.kind == "worker"]
    measuring, waiting = WorkerState(0, "node-0", model_id="m"), WorkerState(0, "node-0")
    assert states == [measuring, WorkerState(0, "node-0", lost="it died"), measuring, waiting]


def test_a_run_ends_when_other_processes_have_measured_what_was_left() -> None:
    class Emptied(BlockQueue):
        """A queue that finds out, when it is asked for a block, that nothing is left."""

        def take(self, worker: int) -> None:
            self._models.clear()

    class Silent(ScriptedPool):
        def heard(self, timeout: float | None) -> Iterator[News]:
            pytest.fail(f"nobody has a task, so waiting {timeout} would be for ever")

    pool = Silent(lambda _worker, job: whole(job))
    assert list(dispatch(pool, Emptied([task()]), OPTIONS, DATA)) == []
    assert pool.stopped == 1
