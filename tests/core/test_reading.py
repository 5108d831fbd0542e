"""What a broken file makes a library raise becomes one line about the file; faults of the machine stay as they are."""

import errno
import os
import socket
from pathlib import Path

import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.limits import TEXT_BYTES, LimitError
from measurebench.core.reading import kind_of, parse_json, parse_toml, reading


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "broken"), MemoryError()])
def test_a_fault_of_the_machine_is_not_told_as_the_files(fault: Exception) -> None:
    with pytest.raises(type(fault)) as caught, reading("x.toml", "a manifest"):
        raise fault
    assert caught.value is fault


@pytest.mark.parametrize(
    "error", [KeyError("a"), RecursionError("deep\nstack"), OverflowError(), PermissionError(13, "no")]
)
def test_any_other_error_is_one_line_about_the_file(error: Exception) -> None:
    with (
        pytest.raises(BadInputError, match="^x.toml: expected a manifest, got [^\n]+$"),
        reading("x.toml", "a manifest"),
    ):
        raise error


def test_limits_errors_pass_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TEXT_BYTES.variable, "3")
    for name, parse in (("x.toml", parse_toml), ("x.json", parse_json)):
        (tmp_path / name).write_text("[1] ")
        with pytest.raises(LimitError, match="at most 3 bytes of text"):
            parse(tmp_path / name, TEXT_BYTES, "a file")


def test_json_that_is_nested_too_deep_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[" * 65 + "]" * 65)
    with pytest.raises(LimitError, match="at most 64 levels"):
        parse_json(tmp_path / "x.json", TEXT_BYTES, "a file")


def test_a_socket_is_refused_by_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets must be short
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("s.json")
        with pytest.raises(BadInputError, match="expected a gallery, got a socket"):
            parse_json(Path("s.json"), TEXT_BYTES, "a gallery")


@pytest.mark.parametrize("parse", [parse_toml, parse_json])
def test_a_pipe_is_refused_and_never_waited_for(parse: object, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    with pytest.raises(BadInputError, match="expected a file, got a pipe"):
        parse(tmp_path / "x", TEXT_BYTES, "a file")  # type: ignore[operator]


def test_what_stands_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found = [kind_of(tmp_path / name) for name in ("none", ".", "pipe")]
    assert found == ["no such file", "a folder", "a pipe"]
