"""Faults of the machine on the command line: one line, status 1, whatever they were wrapped in."""

import errno
from pathlib import Path

import pytest

from measurebench.cli.app import run_command_line
from measurebench.core.errors import BadInputError


def wrapped(error: BaseException) -> BaseException:
    """Return the error as most writers raise it: as bad input, with the cause behind it."""
    outer = BadInputError("r", "a folder that can be written", str(error))
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 1),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 1),
        (OSError(errno.EIO, "Input/output error"), 1),
        (OSError(errno.ESTALE, "Stale file handle"), 1),
        (OSError(errno.EROFS, "Read-only file system"), 1),
        (MemoryError("array of 9 EiB"), 1),
        (PermissionError(errno.EACCES, "Permission denied"), 2),
    ],
)
def test_the_status_tells_the_machine_from_the_input(
    error: BaseException,
    status: int,
    wrap: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "measurebench.json").write_text('{"format": 1}')

    def fail(_folder: Path) -> None:
        raise wrapped(error) if wrap else error

    monkeypatch.setattr("measurebench.store.status.read_status", fail)
    assert run_command_line(["status", str(tmp_path)]) == status
    told = capsys.readouterr().err
    assert told.startswith("measurebench: ")
    assert told.count("\n") == 1


def test_code_that_ends_the_process_does_not_look_like_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "measurebench.json").write_text('{"format": 1}')

    def leave(_folder: Path) -> None:
        raise SystemExit(0)

    monkeypatch.setattr("measurebench.store.status.read_status", leave)
    assert run_command_line(["status", str(tmp_path)]) == 1
    assert "ended the program: SystemExit(0)" in capsys.readouterr().err


def test_damage_is_told_in_one_plain_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "measurebench.json").write_text('{"format": 1}')
    (tmp_path / "records.jsonl").write_text('{"x": \x1b[2J\n')
    assert run_command_line(["status", str(tmp_path)]) == 0
    told = capsys.readouterr().err
    assert told.startswith(f"measurebench: warning: {tmp_path / 'records.jsonl'}, line 1 is damaged and not used")
    assert told.count("\n") == 1
    assert "\x1b" not in told
