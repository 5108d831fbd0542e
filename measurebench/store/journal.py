"""Append-only files of JSON lines that survive a kill at any moment, and the lock against a second writer."""

import fcntl
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError, DamageWarning
from measurebench.core.files import open_regular, write_all, write_atomically
from measurebench.store.checked_lines import Damage, LineReader, checked_line

__all__ = ["Journal", "Place", "SharedLock", "end_of_last_whole_line", "exclusive", "shared"]

_BLOCK = 4096
_PART = 1 << 22  # bytes that are read at a time
_SHARED = b"shared"  # in the lock file while processes share the folder
_TOLD = 5  # a file that is damaged all over would fill the screen


@dataclass
class Place:
    """A place between two lines of a journal: bytes and lines before it, and whether one of them had a checksum."""

    offset: int = 0
    number: int = 0
    checked: bool = False


class Journal:
    """A file with one JSON object per line, each with a checksum.

    A line counts once its newline is on the disk; a last line without one was torn by a kill and is dropped. A line
    that was damaged later is left out, with a DamageWarning that names it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """Return the objects of all whole lines. Raises BadInputError where the path is no regular file.

        Damaged lines are left out; a DamageWarning names each.
        """
        found, damages = self.examine()
        self.warn(damages)
        return [value for _, value in found]

    def examine(self) -> tuple[list[tuple[int, dict[str, Any]]], list[Damage]]:
        """Return the objects with the numbers of their lines, and the damaged lines.

        Raises BadInputError where the path is no regular file: reading a pipe would wait for ever.
        """
        found, damages = [], []
        for number, value in self.scan(Place()):
            if isinstance(value, Damage):
                damages.append(value)
            else:
                found.append((number, value))
        return found, damages

    def scan(
        self, place: "Place", note: Callable[[bytes], None] | None = None
    ) -> Iterator[tuple[int, dict[str, Any] | Damage]]:
        """Yield the number and the object, or the damage, of each whole line from a place on, and move the place.

        The file is read in parts, so that a long one takes little memory; ``note`` gets the bytes of all lines of a
        part before the first of them is yielded. Raises BadInputError where the path is no
        regular file.
        """
        if not self.path.exists():
            return
        if not self.path.is_file():
            raise BadInputError(str(self.path), "a regular file", "something else")
        reader = LineReader(checked=place.checked)
        for line in _whole_lines(self.path, place.offset, note):
            place.offset += len(line) + 1
            place.number += 1
            if line.strip():
                value = reader.read(line, place.number)
                place.checked = reader.checked
                yield place.number, value

    def last(self, size: int) -> list[dict[str, Any]]:
        """Return the objects of the whole lines among the last ``size`` bytes, without those that are damaged.

        Raises BadInputError where the path is no regular file.
        """
        start = max(0, self.path.stat().st_size - size) if self.path.is_file() else 0
        found = [value for _, value in self.scan(Place(start))]
        # The first line may be the end of a longer one.
        return [value for value in found[1 if start else 0 :] if not isinstance(value, Damage)]

    def torn(self) -> bytes:
        """Return the part of a line that a kill left at the end of the file; empty where it ends with a newline."""
        if not self.path.is_file():
            return b""
        with self.path.open("rb") as file:
            file.seek(end_of_last_whole_line(file.fileno()))
            return file.read()

    def warn(self, damages: list[Damage]) -> None:
        """Tell of damaged lines, as DamageWarnings."""
        for damage in damages[:_TOLD]:
            text = f"{self.path}, line {damage.number} is damaged and not used: {damage.reason}"
            warnings.warn(text, DamageWarning, stacklevel=2)
        if len(damages) > _TOLD:
            text = f"{self.path}: {len(damages) - _TOLD} more lines are damaged and not used"
            warnings.warn(text, DamageWarning, stacklevel=2)

    def set_aside(self, damages: list[Damage]) -> None:
        """Move damaged lines to a file ``NAME.damaged`` beside this one, so that they are told once.

        The lock on the folder must be held. Raises OSError where the disk refuses; then nothing has changed.
        """
        if not damages:
            return
        aside = self.path.with_name(f"{self.path.name}.damaged")
        before = aside.read_bytes() if aside.is_file() else b""
        write_atomically(aside, before + b"".join(damage.line + b"\n" for damage in damages))
        numbers = {damage.number for damage in damages}
        lines = self.path.read_bytes().split(b"\n")
        write_atomically(self.path, b"\n".join(line for n, line in enumerate(lines, 1) if n not in numbers))

    def append(self, value: Mapping[str, Any]) -> None:
        """Append one line and wait until it is on the disk; if that fails, the file is as before.

        Raises OSError where the disk refuses, ValueError for NaN or infinity, which JSON does not have, and
        BadInputError where the file is a link or no regular file.
        """
        line = checked_line(value) + b"\n"
        with open_regular(self.path) as file:
            start = end_of_last_whole_line(file)
            os.ftruncate(file, start)
            try:
                write_all(file, line)
            except OSError:
                with suppress(OSError):  # if even that is refused, the next append drops the torn line
                    os.ftruncate(file, start)
                raise


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file, and its folder, against other processes. The system releases both when the process ends.

    The folder is locked too since a lock file can be removed while it is held. Raises BadInputError that names the
    process which holds the lock, or where the file system has no locks; ``what`` names the folder in messages.
    """
    with ExitStack() as held:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
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


class SharedLock:
    """A lock that several processes hold together."""

    def __init__(self, file: int) -> None:
        self._file = file

    def is_last(self) -> bool:
        """Tell whether no other process holds the lock; this one then has it for itself."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


@contextmanager
def shared(path: Path, what: str) -> Iterator[SharedLock]:
    """Hold a lock file together with others that share it, and against those that want it for themselves.

    Where the file system has no locks, nothing is held: claims of blocks do not need them. Raises BadInputError that
    names the process which has the folder for itself; ``what`` names the folder in messages.
    """
    with open_regular(path) as file:
        with suppress(OSError):
            _lock(file, file, what, fcntl.LOCK_SH)
            os.ftruncate(file, 0)
            os.write(file, _SHARED)
        yield SharedLock(file)


def _lock(descriptor: int, file: int, what: str, kind: int = fcntl.LOCK_EX) -> None:
    """Lock a file or folder, or say who holds it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(file, 20, 0).strip()
        if holder == _SHARED:
            got, hint = "one in use by runs with --shared", "add --shared to this one, or wait for them"
        else:
            got = f"one in use by process {holder.decode() if holder.isdigit() else 'unknown'}"
            hint = "" if kind == fcntl.LOCK_EX else "--shared is for folders that every run shares"
        raise BadInputError(what, "a folder that no other run is writing to", got, hint) from None


def _whole_lines(path: Path, start: int, note: Callable[[bytes], None] | None) -> Iterator[bytes]:
    """Yield the lines that end in a newline, without it, from a position on."""
    with path.open("rb") as file:
        file.seek(start)
        rest = b""
        while part := file.read(_PART):
            whole, newline, rest = (rest + part).rpartition(b"\n")
            if newline:
                if note is not None:
                    note(whole + newline)
                yield from whole.split(b"\n")


def end_of_last_whole_line(file: int) -> int:
    """Return the position after the last newline of a file."""
    position = os.fstat(file).st_size
    while position > 0:
        start = max(0, position - _BLOCK)
        newline = os.pread(file, position - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        position = start
    return 0
