"""Sets of files that belong together and are replaced all at once: after a kill all are old, or all are new.

The new files are written beside the folder first. Where the folder holds nothing else, the system exchanges the two
folders in one step. Elsewhere the complete set is moved into the folder under one name, and from there file by file;
whoever writes or reads the set next finishes what a kill interrupted.
"""

import ctypes
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from measurebench.core.files import TEMPORARY, is_temporary, remove_temporaries, sync_folder, write_all

__all__ = ["finish_set", "write_set"]

_PENDING = ".measurebench.pending"  # a complete set that is being moved into its place
_AN_HOUR = 3600.0  # no set takes that long to be written: older temporary files are of processes that ended
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2
_HERE = -100  # AT_FDCWD


def write_set(folder: Path, contents: Mapping[str, bytes], replaced: Iterable[str] = ()) -> list[Path]:
    """Write files of these names into a folder, all or none, and return their paths.

    Files named in ``replaced`` that the set no longer has are removed. Makes the folder where it is missing; other
    files in it stay. Raises OSError where the disk refuses; then the files are as before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    finish_set(folder)
    remove_temporaries(folder, older_than=_AN_HOUR)
    gone = set(replaced) - set(contents)
    # Beside the folder if that is possible: what lies inside would be exchanged with it.
    inside = not _may_exchange(folder, {*contents, *gone})
    stage = (folder if inside else folder.parent) / f".{secrets.token_hex(8)}{TEMPORARY}"
    try:
        _stage(stage, contents)
        if inside or not _exchanged(stage, folder):
            _move_in(stage, folder, gone)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    sync_folder(folder.parent)
    return [folder / name for name in contents]


def finish_set(folder: Path) -> None:
    """Finish what a killed process began: move the rest of a complete set into its place, if there is one.

    Readers call it too. Where the folder cannot be written to, it raises OSError, since its files are mixed.
    """
    pending = folder / _PENDING
    if not pending.is_dir():
        return
    gone = pending / "removed"
    for name in gone.read_text().split("\n") if gone.is_file() else []:
        if name:
            (folder / name).unlink(missing_ok=True)
    for path in sorted(pending.iterdir()):
        if path != gone:
            path.replace(folder / path.name.removeprefix("new-"))
    sync_folder(folder)
    shutil.rmtree(pending)


def _stage(stage: Path, contents: Mapping[str, bytes]) -> None:
    """Write the whole set into a folder of its own, and wait until it is on the disk."""
    stage.mkdir()
    for name, content in contents.items():
        file = os.open(stage / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            write_all(file, content)
        finally:
            os.close(file)
    sync_folder(stage)


def _may_exchange(folder: Path, ours: set[str]) -> bool:
    """Tell whether a folder holds files of the set alone, so that another can take its place.

    The working folder stays: the user's shell would be left in a folder without a name.
    """
    if not sys.platform.startswith("linux") or folder.is_symlink() or folder.resolve() == Path.cwd():
        return False
    entries = list(folder.iterdir())
    known = all(entry.name in ours and entry.is_file() and not entry.is_symlink() for entry in entries)
    return known and not any(is_temporary(entry) for entry in entries)


def _exchanged(stage: Path, folder: Path) -> bool:
    """Exchange two folders in one step; False where the system or the file system cannot."""
    shutil.copymode(folder, stage)
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    if call(_HERE, os.fsencode(stage), _HERE, os.fsencode(folder), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
        raise OSError(number, os.strerror(number), str(folder))
    return False


def _move_in(stage: Path, folder: Path, gone: set[str]) -> None:
    """Move a complete set into a folder: one step that decides, then the files one by one."""
    for path in sorted(stage.iterdir()):
        path.rename(stage / f"new-{path.name}")  # no name of the set can be that of the list below
    file = os.open(stage / "removed", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        write_all(file, "\n".join(sorted(gone)).encode())
    finally:
        os.close(file)
    stage.rename(folder / _PENDING)
    sync_folder(folder)
    try:
        finish_set(folder)
    except OSError:
        with suppress(OSError):
            finish_set(folder)
            return
        raise
