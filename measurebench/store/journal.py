"""Append-only files of JSON lines that survive a kill at any moment, and the lock against a second writer."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError

__all__ = ["Journal", "exclusive"]


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
        whole = self.path.read_bytes().rpartition(b"\n")[0]
        return [self._parse(line, number) for number, line in enumerate(whole.split(b"\n"), 1) if line.strip()]

    def append(self, value: Mapping[str, Any]) -> None:
        """Append one line and wait until it is on the disk; if that fails, the file is as before.

        Raises OSError where the disk refuses, ValueError for NaN or infinity, which JSON does not have.
        """
        line = json.dumps(value, allow_nan=False, sort_keys=True).encode() + b"\n"
        with self.path.open("ab") as file:
            start = self._end_of_last_whole_line()
            file.truncate(start)
            try:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                _drop_tail(self.path, start)
                raise

    def _end_of_last_whole_line(self) -> int:
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            position = size
            while position > 0:
                start = max(0, position - 4096)
                file.seek(start)
                newline = file.read(position - start).rfind(b"\n")
                if newline >= 0:
                    return start + newline + 1
                position = start
        return 0

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        where = f"{self.path}, line {number}"
        hint = "something else changed the file; correct the line or remove it, the others are intact"
        try:
            value = json.loads(line)
        except ValueError as error:
            raise BadInputError(where, "one JSON object", f"{line[:60]!r} ({error})", hint) from None
        if not isinstance(value, dict):
            raise BadInputError(where, "one JSON object", type(value).__name__, hint)
        return value


def _drop_tail(path: Path, size: int) -> None:
    """Cut off a half-written line; if the disk refuses even that, the next append will do it."""
    try:
        os.truncate(path, size)
    except OSError:
        return


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file. The system releases it when the process ends, in whatever way.

    Raises BadInputError that names the process which holds it; ``what`` names the folder in the message.
    """
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise BadInputError(
                what, "a folder that no other run is writing to", f"one in use by process {holder}"
            ) from None
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield
