"""Atomic writes under faults: the old content or the new, and nothing left over."""

import os
from pathlib import Path

import pytest

from measurebench.core.files import TEMPORARY, write_atomically


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_fault_at_any_step_leaves_the_old_content_and_no_other_file(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").write_bytes(b"old")

    def fails(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path if call == "replace" else os, call, fails)
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "f", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"f": b"old"}


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_that_the_umask_leaves(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "f", b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "f").stat().st_mode & 0o777 == mode


def test_a_link_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "f").symlink_to(tmp_path / "precious")
    write_atomically(tmp_path / "f", b"new")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert (tmp_path / "f").read_bytes() == b"new"
    assert not (tmp_path / "f").is_symlink()


def test_names_that_fill_the_limit_can_be_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("x" * 255), b"new")
    assert (tmp_path / ("x" * 255)).read_bytes() == b"new"
    assert len(TEMPORARY) < 100
