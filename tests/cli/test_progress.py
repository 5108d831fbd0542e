import io

import pytest

from measurebench.cli import progress
from tests.store.test_folder import record


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_for_each_model_that_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.terminal_progress() as shown:
        shown.planned(2, 3, 0)
        shown.started("a")
        shown.recorded(record(model_id="a"))
        shown.recorded(record(model_id="a", status="failed", value=None, reason="out of memory"))
        shown.finished("a")
        shown.recorded(record(model_id="b"))
        shown.finished("b")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "2 models, 3 values to measure, 0 found",
        "1 done: a (1 failed), about 0 s left",
        "2 done: b, about 0 s left",
    ]


def test_a_terminal_sees_the_model_the_count_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = _Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "120")
    with progress.terminal_progress() as shown:
        shown.planned(2, 10, 4)
        shown.started("digits-resnet-AT")
        shown.recorded(record())
    assert "digits-resnet-AT" in screen.getvalue()
    assert "1/10" in screen.getvalue()
    assert "left" in screen.getvalue()


@pytest.mark.parametrize(("seconds", "words"), [(4.6, "5 s"), (65, "1 min 5 s"), (7322, "2 h 2 min")])
def test_durations_are_written_in_their_two_largest_units(seconds: float, words: str) -> None:
    assert progress._duration(seconds) == words
