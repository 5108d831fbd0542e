import io

import pytest

from measurebench.cli import progress
from measurebench.engine.executors import WorkerState
from tests.store.test_folder import record


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("quiet", [0.0, 60.0])
def test_the_log_of_a_long_run_gets_a_line_for_each_model_that_is_done(
    quiet: float, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", quiet)
    with progress.terminal_progress() as shown:
        shown.planned(2, {"a": 2, "b": 1}, 0)
        shown.started("a")
        shown.recorded(record(model_id="a"))
        shown.recorded(record(model_id="a", status="failed", value=None, reason="out of memory"))
        shown.finished("a")
        shown.recorded(record(model_id="b"))
        shown.finished("b")
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = ["1 done: a (1 failed), about 0 s left", "2 done: b, about 0 s left"]
    assert captured.err.splitlines() == ([] if quiet else lines)


def test_a_terminal_sees_the_model_the_count_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "120")
    with progress.terminal_progress() as shown:
        shown.planned(2, {"digits-resnet-AT": 10}, 4)
        shown.started("digits-resnet-AT")
        shown.recorded(record(model_id="digits-resnet-AT"))
    assert "digits-resnet-AT" in screen.getvalue()
    assert "1/10" in screen.getvalue()
    assert "left" in screen.getvalue()


@pytest.mark.parametrize(("seconds", "words"), [(4.6, "5 s"), (65, "1 min 5 s"), (7322, "2 h 2 min")])
def test_durations_are_written_in_their_two_largest_units(seconds: float, words: str) -> None:
    assert progress.duration(seconds) == words


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def load_failure(model_id: str) -> object:
    return record(model_id=model_id, measure="load", status="failed", value=None, reason="no network")


def test_models_that_fail_at_once_say_nothing_about_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 models of 60 pairs: the first two cannot be downloaded after 63 s each, the third takes 10 s a pair."""
    clock = _Clock()
    monkeypatch.setattr(progress, "time", clock)
    with progress.terminal_progress() as shown:
        shown.planned(30, {f"m{i}": 60 for i in range(30)}, 0)
        for i in range(2):
            shown.started(f"m{i}")
            clock.now += 63
            shown.recorded(load_failure(f"m{i}"))
            shown.finished(f"m{i}")
        shown.started("m2")
        for _ in range(60):
            clock.now += 10
            shown.recorded(record(model_id="m2"))
        shown.finished("m2")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [f"{i + 1} done: m{i} (1 failed), time left not known yet" for i in range(2)]
    assert lines[2] == f"3 done: m2, about {progress.duration(27 * 60 * 10)} left"


def test_measures_that_fail_at_once_say_nothing_about_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three models with 20 pairs each, the first fails in all of them at once; the second takes 10 s a pair."""
    clock = _Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    with progress.terminal_progress() as shown:
        shown.planned(3, {f"m{i}": 20 for i in range(3)}, 0)
        for i in range(2):
            shown.started(f"m{i}")
            for _ in range(20):
                clock.now += 10 * i
                failed = {"status": "failed", "value": None, "reason": "no such layer"} if i == 0 else {}
                shown.recorded(record(model_id=f"m{i}", **failed))
            shown.finished(f"m{i}")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["1 done: m0 (20 failed), time left not known yet", "2 done: m1, about 3 min 20 s left"]


def test_the_bar_is_full_when_every_model_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "120")
    with progress.terminal_progress() as shown:
        shown.planned(1, {"m": 8}, 0)
        shown.started("m")
        shown.recorded(load_failure("m"))
        shown.finished("m")
    assert "8/8" in screen.getvalue()


def test_a_terminal_sees_what_each_worker_measures_and_which_were_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "160")
    with progress.terminal_progress() as shown:
        shown.planned(2, {"a": 10, "b": 10}, 0)
        shown.worker(WorkerState(1, "node-2"))
        shown.worker(WorkerState(0, "node-1", model_id="a"))
        shown.worker(WorkerState(2, "node-3", lost="the worker on node-3 was lost with its node"))
    assert "node-1: a, 2 waiting" in screen.getvalue()
    assert "the worker on node-3 was lost with its node; another one goes on" in screen.getvalue()


def test_a_log_tells_a_lost_worker_at_once_and_nothing_of_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.terminal_progress() as shown:
        shown.planned(1, {"a": 10}, 0)
        shown.worker(WorkerState(0, "", model_id="a"))
        shown.worker(WorkerState(0, "", lost="the worker process was ended by SIGKILL (out of memory?)"))
    said = "the worker process was ended by SIGKILL (out of memory?); another one goes on"
    assert capsys.readouterr().err.splitlines() == [said]


def test_workers_without_places_are_told_by_their_models() -> None:
    states = [WorkerState(1, "", model_id="b"), WorkerState(0, "", model_id="a")]
    assert progress.worker_line(states) == "a, b"
    assert progress.worker_line([]) == ""
