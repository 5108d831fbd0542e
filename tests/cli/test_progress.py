import io

import pytest

from measurebench.cli import progress
from tests.store.test_folder import record


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_shown_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.terminal_progress() as shown:
        shown.planned(2, 10, 0)
        shown.started("a")
        shown.recorded(record())
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


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
