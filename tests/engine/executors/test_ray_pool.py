"""How the end of an actor is judged, with pretended errors of Ray."""

from types import SimpleNamespace
from typing import Any

import pytest

from measurebench.engine.executors import ray_pool
from measurebench.engine.executors.ray_pool import RayPool, _Actor


class _TaskError(Exception):
    """Stands for an error that the code of a worker raised."""


class _DiedError(Exception):
    def __init__(self, text: str = "The actor died unexpectedly", **marks: bool) -> None:
        super().__init__(text)
        self.preempted, self._actor_init_failed = marks.get("preempted", False), marks.get("init_failed", False)


@pytest.fixture
def pool() -> Any:
    made: Any = RayPool.__new__(RayPool)
    made._ray = SimpleNamespace(exceptions=SimpleNamespace(RayTaskError=_TaskError))
    made._cluster = SimpleNamespace(is_alive=lambda node: node == "there")
    made._stillborn = 0
    return made


def actor(**what: Any) -> _Actor:
    return _Actor(None, None, **{"node": "there", "is_ready": True} | what)


@pytest.mark.parametrize(
    ("error", "who", "blames", "words"),
    [
        (_DiedError(), actor(), True, "ended unexpectedly (out of memory, or a crash)"),
        (_DiedError(), actor(node="gone"), False, "was lost with its node"),
        (_DiedError(preempted=True), actor(), False, "was lost with its node"),
        (_DiedError("it was killed by `ray.kill`"), actor(), False, "was ended by somebody else"),
        (_TaskError("Traceback ...\nZeroDivisionError: x"), actor(), True, "failed: ZeroDivisionError: x"),
        (
            _DiedError("No module named measurebench", init_failed=True),
            actor(is_ready=False),
            True,
            "failed: No module",
        ),
    ],
)
def test_only_what_a_measure_may_have_caused_is_blamed_on_it(
    pool: Any, error: Exception, who: _Actor, blames: bool, words: str
) -> None:
    how, blamed = pool._cause(who, error)
    assert how.startswith(words)
    assert blamed is blames


def test_workers_may_be_lost_many_times_while_they_start_but_not_for_ever(pool: Any) -> None:
    starting = actor(is_ready=False, node="")
    found = [pool._cause(starting, _DiedError()) for _ in range(ray_pool._STILLBORN + 2)]
    assert found[0] == ("ended before it was ready", False)
    assert [blames for _, blames in found] == [False] * ray_pool._STILLBORN + [True] * 2
