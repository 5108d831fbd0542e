"""A folder that stands for the results folder on another machine: what is written there is sent to the driver."""

import fcntl
import shutil
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from measurebench.core.files import is_temporary, write_atomically

__all__ = ["Scratch", "files_below"]

_PREFIX = "measurebench-worker-"
_LOCK = "in-use"
_State = tuple[int, int, int]  # number, size and time of a file: one that was written again differs


class Scratch:
    """A temporary folder of this process; ``changed`` says what was written there since the last call."""

    def __init__(self) -> None:
        _remove_left_over()
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._in_use = (self._folder / _LOCK).open("w")
        fcntl.flock(self._in_use, fcntl.LOCK_EX)
        self.path = self._folder / "results"
        self.path.mkdir()
        self._known: dict[Path, _State] = {}
        self._lock = threading.Lock()

    def fill(self, files: Mapping[str, bytes], *, keeps: bool) -> None:
        """Write these files, by their paths in the results folder, where ``keeps`` is False in place of all others."""
        with self._lock:
            for child in () if keeps else self.path.iterdir():
                shutil.rmtree(child)
            self._known = self._known if keeps else {}
            for name, content in files.items():
                write_atomically(self.path / name, content)
                self._known[self.path / name] = _state(self.path / name)

    def changed(self) -> dict[str, bytes]:
        """Return the files that were written since the last call, by their paths in the results folder."""
        with self._lock:
            found = {}
            for path in _whole_files(self.path):
                if self._known.get(path) != (state := _state(path)):
                    self._known[path] = state
                    found[path.relative_to(self.path).as_posix()] = path.read_bytes()
            return found

    def remove(self) -> None:
        """Remove the folder and everything in it."""
        self._in_use.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _remove_left_over() -> None:
    """Remove the folders of workers that were killed: those that no process holds locked any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError), (folder / _LOCK).open("r+") as lock:  # another user's, or in use
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def files_below(folder: Path, *places: Path) -> list[str]:
    """Return the paths in a folder of all files below some places of it; a place that is missing has none."""
    return [path.relative_to(folder).as_posix() for place in places for path in _whole_files(place)]


def _whole_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not is_temporary(path))


def _state(path: Path) -> _State:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
