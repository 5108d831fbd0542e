import io

import pytest

from measurebench.cli import progress
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
        shown.planned(2, 3, 0)
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
        shown.planned(2, 10, 4)
        shown.started("digits-resnet-AT")
        shown.recorded(record())
    assert "digits-resnet-AT" in screen.getvalue()
    assert "1/10" in screen.getvalue()
    assert "left" in screen.getvalue()


@pytest.mark.parametrize(("seconds", "words"), [(4.6, "5 s"), (65, "1 min 5 s"), (7322, "2 h 2 min")])
def test_durations_are_written_in_their_two_largest_units(seconds: float, words: str) -> None:
    assert progress.duration(seconds) == words
