"""The log of a folder: complete, readable, and never in the way of a run."""

from pathlib import Path

import pytest

from measurebench.cli.app import run_command_line
from measurebench.core.errors import BadInputError
from measurebench.store.folder import ResultsFolder
from measurebench.store.run_log import RunLog, follow_log, log_line, read_log
from tests.store.test_folder import record
from tests.store.test_tables import ENTRY


def logged(path: Path) -> Path:
    with ResultsFolder.writing(path, "0") as folder, folder.log.run(["measurebench", "run"], 2):
        folder.add_model(ENTRY)
        folder.add_record(record())
        folder.add_model(ENTRY | {"model_id": "b", "failure": "ModelError: broken"})
        folder.add_record(record(measure="local_lip", status="failed", value=None, reason="no memory"))
    return path


def test_every_step_of_a_run_is_in_its_log(tmp_path: Path) -> None:
    events = read_log(logged(tmp_path / "out"))
    assert [event["event"] for event in events] == ["begin", "model", "record", "failed model", "record", "end"]
    assert (events[0]["command"], events[0]["models"]) == ("measurebench run", 2)
    assert (events[2]["measure"], events[2]["value"]) == ("average_ce", 1.5)
    assert (events[3]["model"], events[3]["reason"]) == ("b", "ModelError: broken")
    assert (events[4]["status"], events[4]["reason"], "value" in events[4]) == ("failed", "no memory", False)
    assert events[5]["status"] == "finished"
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), "interrupted"), (OSError("gone"), "stopped")])
def test_a_run_that_does_not_finish_says_how_it_ended(tmp_path: Path, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), RunLog(tmp_path).run(["run"], 1):
        raise error
    end = read_log(tmp_path)[-1]
    assert (end["event"], end["status"]) == ("end", status)
    assert ("gone" in end.get("reason", "")) == (status == "stopped")


def test_the_log_is_shown_with_a_line_for_each_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = logged(tmp_path / "out")
    assert run_command_line(["log", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[2].endswith("record  a: average_ce (train) = 1.5, in 0.1 s")
    assert lines[4].endswith("record  a: local_lip (train) failed: no memory, in 0.1 s")
    assert run_command_line(["log", str(folder), "--last", "1"]) == 0
    assert "end  status: finished" in capsys.readouterr().out
    assert run_command_line(["log", str(folder), "--json", "--last", "2"]) == 0
    assert capsys.readouterr().out.count('"event"') == 2
    assert run_command_line(["log", str(folder), "--last", "-1"]) == 2


def test_a_log_that_is_followed_shows_new_events_and_no_half_ones(tmp_path: Path) -> None:
    folder = logged(tmp_path / "out")
    events = follow_log(folder)
    assert [next(events)["event"] for _ in range(6)][-1] == "end"
    with (folder / "log.jsonl").open("a") as file:
        file.write('{"event": "new"}\n{"event": "ha')
        file.flush()
        assert next(events)["event"] == "new"
        file.write('lf"}\n')
    assert next(events)["event"] == "half"


def test_lines_that_are_no_events_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(b'oops\n[]\n{"event": 3}\n\xff\n{"event": "begin", "time": 5}\n')
    (event,) = read_log(tmp_path)
    assert log_line(event) == "begin"


def test_a_log_that_cannot_be_written_does_not_stop_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("measurebench.store.run_log.os.write", full)
    RunLog(tmp_path).write("begin")
    assert read_log(tmp_path) == []


def test_a_link_in_place_of_the_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "log.jsonl").symlink_to(tmp_path / "precious")
    with pytest.raises(BadInputError, match="expected a regular file, got a link"):
        RunLog(tmp_path).write("begin")
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize(("value", "shown"), [(10**400, "inf"), (-(10**400), "-inf"), (True, "1")])
def test_a_number_beyond_floats_in_a_log_is_shown(value: int, shown: str) -> None:
    assert f" = {shown}, in" in log_line({"event": "record", "value": value})
