"""Append-only files of JSON lines that survive a kill at any moment, and the lock against a second writer."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError
from measurebench.core.files import open_regular, write_all

__all__ = ["Journal", "exclusive"]

_BLOCK = 4096


class Journal:
    """A file with one JSON object per line.

    A line counts once its newline is on the disk; a last line without one was torn by a kill and is dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """Return the objects of all whole lines. Raises BadInputError for a line that is not a JSON object."""
        if not self.path.exists():
            return []
        if not self.path.is_file():  # reading a pipe would wait for ever
            raise BadInputError(str(self.path), "a regular file", "something else")
        whole = self.path.read_bytes().rpartition(b"\n")[0]
        return [self._parse(line, number) for number, line in enumerate(whole.split(b"\n"), 1) if line.strip()]

    def append(self, value: Mapping[str, Any]) -> None:
        """Append one line and wait until it is on the disk; if that fails, the file is as before.

        Raises OSError where the disk refuses, ValueError for NaN or infinity, which JSON does not have, and
        BadInputError where the file is a link or no regular file.
        """
        line = json.dumps(value, allow_nan=False, sort_keys=True).encode() + b"\n"
        with open_regular(self.path) as file:
            start = _end_of_last_whole_line(file)
            os.ftruncate(file, start)
            try:
                write_all(file, line)
            except OSError:
                with suppress(OSError):  # if even that is refused, the next append drops the torn line
                    os.ftruncate(file, start)
                raise

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        where = f"{self.path}, line {number}"
        hint = "something else changed the file; correct the line or remove it, the others are intact"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadInputError(where, "one JSON object", f"{line[:60]!r} ({error})", hint) from None
        if not isinstance(value, dict):
            raise BadInputError(where, "one JSON object", type(value).__name__, hint)
        return value


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file, and its folder, against other processes. The system releases both when the process ends.

    The folder is locked too since a lock file can be removed while it is held. Raises BadInputError that names the
    process which holds the lock, or where the file system has no locks; ``what`` names the folder in messages.
    """
    with ExitStack() as held:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        held.callback(os.close, folder)
        file = held.enter_context(open_regular(path))
        with suppress(OSError):  # some network file systems lock files but not folders
            _lock(folder, file, what)
        try:
            _lock(file, file, what)
        except OSError as error:
            expected = "a folder on a file system that can lock files"
            raise BadInputError(what, expected, str(error.strerror), "choose one on a local disk") from None
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode())
        yield


def _lock(descriptor: int, file: int, what: str) -> None:
    """Lock a file or folder, or say who holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(file, 20, 0).decode(errors="replace").strip()
        got = f"one in use by process {holder if holder.isdigit() else 'unknown'}"
        raise BadInputError(what, "a folder that no other run is writing to", got) from None


def _end_of_last_whole_line(file: int) -> int:
    """Return the position after the last newline of a file."""
    position = os.fstat(file).st_size
    while position > 0:
        start = max(0, position - _BLOCK)
        newline = os.pread(file, position - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        position = start
    return 0
