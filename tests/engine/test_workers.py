"""What becomes of a task when its worker dies: decided from the events that arrived, without any process."""

from types import SimpleNamespace
from typing import Any

import pytest

from measurebench.core.config import RunConfig
from measurebench.core.specs import ModelSpec
from measurebench.core.threat import ThreatModel
from measurebench.engine import workers
from measurebench.engine.model_run import Event
from measurebench.engine.options import RunOptions
from measurebench.engine.plan import Task
from tests.store.test_folder import record

PAIRS = (("clean_accuracy", "train"), ("average_ce", "train"), ("clean_accuracy", "test"))
TASK = Task(ModelSpec("m", "memory", "m"), "digest", RunConfig("d", "", "", ThreatModel.parse("Linf", "0.1")), PAIRS)  # type: ignore[arg-type]
OPTIONS = RunOptions("digits", measures="average_ce", attacks="none")
DATA: Any = SimpleNamespace(split=lambda _name: range(40))

BEGUN = Event("environment", {"digest": "e"})
LOADED = Event("model", {"failure": "", "model_digest": "loaded"})
NOT_LOADED = Event("model", {"failure": "broken", "model_digest": "digest"})


def measured(measure: str, split: str) -> Event:
    return Event("record", record(model_id="m", measure=measure, split=split))


def job(*events: Event) -> Any:
    made = workers._Job(TASK)
    for event in events:
        made.note(event)
    return made


def blame(exit_code: int, *events: Event) -> list[Event]:
    return list(workers._blame(workers._Death(job(*events), exit_code), OPTIONS, DATA))


def test_the_rest_of_a_task_is_what_has_no_record() -> None:
    assert job(BEGUN, LOADED).rest().pairs == PAIRS
    assert job(BEGUN, LOADED, measured("clean_accuracy", "train")).rest().pairs == PAIRS[1:]
    assert job(BEGUN, LOADED, measured("clean_accuracy", "test")).rest().pairs == PAIRS[:2]


def test_nothing_is_left_of_a_model_that_cannot_be_loaded() -> None:
    assert job(BEGUN, NOT_LOADED, measured("load", "train")).rest().pairs == ()


def test_a_worker_that_dies_before_it_began_leaves_the_task_as_it_was() -> None:
    assert blame(-9) == []
    assert job().rest() == TASK


def test_a_worker_that_dies_while_loading_fails_the_model() -> None:
    entry, failed = blame(-9, BEGUN)
    assert entry.kind == "model"
    assert (failed.value.measure, failed.value.status) == ("load", "failed")
    assert failed.value.reason == "the worker process was ended by SIGKILL (out of memory?)"


def test_a_worker_that_dies_while_measuring_fails_the_first_open_measure() -> None:
    (failed,) = blame(3, BEGUN, LOADED, measured("clean_accuracy", "train"))
    assert (failed.value.measure, failed.value.split, failed.value.model_digest) == ("average_ce", "train", "loaded")
    assert (failed.value.n, failed.value.environment_digest) == (40, "e")
    assert failed.value.reason == "the worker process ended with status 3"


def test_a_worker_that_dies_on_a_gpu_is_told_with_the_gpus_memory() -> None:
    begun = Event("environment", {"digest": "e", "device": "NVIDIA H100"})
    known = Event("record", record(model_id="m", measure="clean_accuracy", split="train", peak_memory_bytes=3 * 2**30))
    (failed,) = blame(-9, begun, LOADED, known)
    assert failed.value.peak_memory_bytes == 3 * 2**30
    (_, failed) = blame(-9, begun)
    assert failed.value.peak_memory_bytes == 0


def test_a_worker_that_only_lost_its_gpu_fails_nothing_more() -> None:
    assert blame(workers._DEVICE_LOST, BEGUN, LOADED) == []


def test_a_worker_that_dies_after_its_last_measure_fails_nothing() -> None:
    assert blame(-11, BEGUN, LOADED, *(measured(*pair) for pair in PAIRS)) == []


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (-9, "was ended by SIGKILL (out of memory?)"),
        (-11, "was ended by SIGSEGV"),
        (0, "ended with status 0"),
        (None, "ended with status None"),
    ],
)
def test_a_death_is_told_in_words(exit_code: int | None, words: str) -> None:
    assert workers._Death(job(), exit_code).how == f"the worker process {words}"
