"""Sets of files: after a fault or a kill at any step all are old, or all are new."""

import os
from pathlib import Path

import pytest

from measurebench.core import file_sets
from measurebench.core.file_sets import finish_set, write_set
from measurebench.core.files import is_temporary
from tests.faults.injection import FAILURES, count_calls, fails_at, killed_at

OLD, NEW = {"a": b"old a", "b": b"old b", "gone": b"old"}, {"a": b"new a", "b": b"new b", "c": b"new c"}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and not is_temporary(path)}


@pytest.fixture(params=["alone", "beside others", "without exchange"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the old set: alone, beside a person's notes, or on a system that cannot exchange folders."""
    out = tmp_path / "parent" / "out"
    write_set(out, OLD)
    if request.param == "beside others":
        (out / "notes").mkdir()
    if request.param == "without exchange":
        monkeypatch.setattr(file_sets, "_exchanged", lambda *_: False)
    return out


def replace(folder: Path) -> None:
    write_set(folder, NEW, OLD)


def test_the_new_set_takes_the_place_of_the_old_and_nothing_else_changes(folder: Path) -> None:
    others = [path for path in folder.iterdir() if path.is_dir()]
    assert write_set(folder, NEW, OLD) == [folder / name for name in NEW]
    assert content(folder) == NEW
    assert all(path.is_dir() for path in others)
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


def test_a_fault_at_any_step_leaves_the_old_set_or_the_new(folder: Path, tmp_path: Path) -> None:
    for step in range(1, count_calls(lambda: replace(folder), tmp_path) + 1):
        write_set(folder, OLD, NEW)
        error = fails_at(step, FAILURES[step % 3], lambda: replace(folder), tmp_path)
        assert content(folder) in (OLD, NEW), step
        assert error is not None or content(folder) == NEW, step
        replace(folder)
        assert content(folder) == NEW


def test_a_kill_at_any_step_leaves_the_old_set_or_the_new_for_who_reads_next(folder: Path, tmp_path: Path) -> None:
    for step in range(1, count_calls(lambda: replace(folder), tmp_path) + 1):
        write_set(folder, OLD, NEW)
        assert killed_at(step, lambda: replace(folder), tmp_path)
        finish_set(folder)
        assert content(folder) in (OLD, NEW), step
        replace(folder)
        assert content(folder) == NEW


def test_a_set_alone_in_its_folder_is_never_mixed_even_before_it_is_read(tmp_path: Path) -> None:
    out = tmp_path / "parent" / "out"
    write_set(out, OLD)
    for step in range(1, count_calls(lambda: replace(out), tmp_path) + 1):
        write_set(out, OLD, NEW)
        assert killed_at(step, lambda: replace(out), tmp_path)
        assert content(out) in (OLD, NEW), step


def test_the_working_folder_is_not_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path / "out", OLD)
    monkeypatch.chdir(tmp_path / "out")
    before = Path().stat().st_ino
    write_set(Path(), NEW, OLD)
    assert (Path().stat().st_ino, Path("a").read_bytes()) == (before, b"new a")
    assert content(tmp_path / "out") == NEW


def test_permissions_are_those_that_the_folder_had_and_the_umask_leaves(tmp_path: Path) -> None:
    write_set(tmp_path / "out", OLD)
    (tmp_path / "out").chmod(0o750)
    before = os.umask(0o027)
    try:
        write_set(tmp_path / "out", NEW, OLD)
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "out" / "a").stat().st_mode & 0o777 == 0o640
