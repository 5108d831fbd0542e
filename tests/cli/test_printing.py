"""Text of others on the terminal: one line, no control characters, never endless."""

import json
from pathlib import Path

import pytest

from measurebench.cli.app import run_command_line
from measurebench.core.foreign import for_terminal as printable
from measurebench.store.folder import ResultsFolder
from tests.store.test_folder import record
from tests.store.test_tables import ENTRY

HOSTILE = "net\x1b[2J\x1b]0;title\x07\nmeasurebench: all measured\u202egnp.exe\u2028\x00"


def test_what_prints_stays_as_it_is() -> None:
    for text in ("", "plain", "größe 8/255, 模型, é", "a 'b' \"c\" \\"):
        assert printable(text) == text


def test_what_does_not_print_is_shown_as_an_escape() -> None:
    shown = printable(HOSTILE)
    assert shown.isprintable()
    assert shown.startswith("net\\x1b[2J")
    assert "\\nmeasurebench: all measured\\u202egnp.exe\\u2028\\x00" in shown


def test_ten_megabytes_become_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    shown = printable("x" * 10_000_000)
    assert len(shown) < 5000
    assert shown.endswith("x ... (10000000 characters)")


def test_ids_and_reasons_of_a_results_folder_cannot_forge_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        folder.add_model(ENTRY | {"model_id": HOSTILE})
        folder.add_record(record(model_id=HOSTILE, status="failed", value=None, reason=HOSTILE))
    assert run_command_line(["status", str(tmp_path / "out")]) == 1
    out = capsys.readouterr().out
    assert out.count("\n") == 3
    assert all(line.isprintable() for line in out.splitlines())
    assert run_command_line(["status", str(tmp_path / "out"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["id"] == HOSTILE


def test_an_error_that_quotes_a_name_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["check", HOSTILE]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err[:-1].isprintable()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "run: Missing argument 'MODEL'; see measurebench run --help"),
        (["check", "x", "--examples", "few"], "check: Invalid value for '--examples'"),
        (["attack", "--out"], "attack: Option '--out' requires an argument"),
        (["export", "--output", "x"], "export: No such option"),
    ],
)
def test_errors_of_usage_are_one_line_too(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"measurebench: {message}")
    assert captured.err.count("\n") == 1


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line([]) == 2
    captured = capsys.readouterr()
    assert "leaderboard" in captured.out + captured.err


def test_an_unknown_option_of_the_whole_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["--nope"]) == 2
    assert "--nope" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "kept"), [("run", "Records"), ("train", "Checkpoints"), ("status", "")])
def test_an_interrupted_command_says_what_it_keeps(command: str, kept: str, capsys: pytest.CaptureFixture[str]) -> None:
    from measurebench.cli import app

    def interrupted() -> None:
        raise KeyboardInterrupt

    assert app._status(interrupted, command) == 130
    rest = f" {kept} are kept; run the same command again to resume." if kept else ""
    assert capsys.readouterr().err == f"measurebench: Interrupted.{rest}\n"


def test_a_reader_that_stops_reading_is_no_failure() -> None:
    # As ``measurebench measures | head -1``: the pipe's other end is closed before the table is printed.
    import os
    import subprocess
    import sys

    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "measurebench", "measures"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
