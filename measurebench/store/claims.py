"""Claims of processes that share a folder, on one machine or many: each block of work has one owner at a time.

A process announces itself with a file ``NAME.process``, whose time of change it renews every ``BEAT_SECONDS``. It
claims a block by making a file ``BLOCK.0``, which holds its name. A claim whose process has ended, or has been silent
for ``STALE_SECONDS``, is taken over by making ``BLOCK.1``, and so on: the highest number counts. Files are made
exclusively, so that of several processes that find a claim stale one takes it over; nothing is renamed or removed that
another process may have made meanwhile. Network file systems keep to this too: a link either is made or is not, and its
count tells, even where the answer was lost. All times are those of the file server, so that clocks need not agree.
"""

import errno
import json
import os
import platform
import secrets
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measurebench.core.files import open_regular, write_atomically, write_beside

__all__ = ["BEAT_SECONDS", "STALE_SECONDS", "Claims", "live_processes", "process_name"]

BEAT_SECONDS = 10.0
STALE_SECONDS = 120.0  # above the 60 s for which NFS may show an old time of change
_LONGEST = 65_536  # bytes that are read of a claim or an announcement, which have a few hundred
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def process_name() -> str:
    """Return a name for this process that no other has: when it began, its machine, its number and random digits."""
    began = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    host = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in platform.node())[:40]
    return f"{began}-{host or 'host'}-{os.getpid()}-{secrets.token_hex(4)}"


class Claims:
    """The claims of one process, named ``name``, in ``folder``; a thread renews its announcement until ``close``."""

    def __init__(
        self, folder: Path, name: str, *, stale_seconds: float = STALE_SECONDS, beat_seconds: float = BEAT_SECONDS
    ) -> None:
        self.folder, self.name = folder, name
        self._stale, self._beat = stale_seconds, beat_seconds
        self._held: dict[str, int] = {}
        self._announce()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep_announcing, daemon=True)
        self._thread.start()

    def claim(self, block: str) -> bool:
        """Claim a block; return whether it is ours now. One that is ours already stays so."""
        if self.holds(block):
            return True
        number, owner = self._latest(block)
        if owner is not None and owner != self.name and self._is_alive(owner):
            return False
        if not _make(self.folder / f"{block}.{number + 1}", self.name.encode()):
            return False
        self._held[block] = number + 1
        return True

    def holds(self, block: str) -> bool:
        """Tell whether a block is ours: claimed, and not taken over since (this process may have been asleep)."""
        number = self._held.get(block)
        return number is not None and self._is_ours(block, number)

    def _is_ours(self, block: str, number: int) -> bool:
        # Whoever took it over made the next file, and when done removed both.
        later = self.folder / f"{block}.{number + 1}"
        return _text(self.folder / f"{block}.{number}") == self.name and not later.exists()

    def is_taken(self, block: str) -> bool:
        """Tell whether another process holds a block and is alive."""
        owner = self._latest(block)[1]
        return owner is not None and owner != self.name and self._is_alive(owner)

    def release(self, block: str) -> None:
        """Give up a block; what was done of it must be on the disk."""
        number = self._held.pop(block, None)
        if number is None or not self._is_ours(block, number):
            return
        for each in range(number + 1):  # a process that slept finds that its file is gone
            (self.folder / f"{block}.{each}").unlink(missing_ok=True)

    def note_done(self, block: str) -> None:
        """Note that a block is done which makes no record."""
        write_atomically(self.folder / f"{block}.done", b"")

    def is_done(self, block: str) -> bool:
        """Tell whether a block is done which makes no record."""
        return (self.folder / f"{block}.done").exists()

    def close(self) -> None:
        """Give up everything."""
        self._closed.set()
        self._thread.join(timeout=5)
        for block in list(self._held):
            self.release(block)
        _announcement(self.folder, self.name).unlink(missing_ok=True)

    def _latest(self, block: str) -> tuple[int, str | None]:
        """Return the highest number of a block's claims and its owner; -1 and None for one that is not claimed."""
        number, owner = -1, None
        while (found := _text(self.folder / f"{block}.{number + 1}")) is not None:
            number, owner = number + 1, found
        return number, owner

    def _is_alive(self, owner: str) -> bool:
        return _is_alive(self.folder, owner, self._stale)

    def _announce(self) -> None:
        write_atomically(_announcement(self.folder, self.name), json.dumps(_this_process()).encode())

    def _keep_announcing(self) -> None:
        while not self._closed.wait(self._beat):
            with suppress(OSError):  # a file system that does not answer now may do so at the next beat
                try:
                    os.utime(_announcement(self.folder, self.name))
                except FileNotFoundError:
                    if self.folder.is_dir():  # a folder that went away is not made again
                        self._announce()


def live_processes(folder: Path, stale_seconds: float = STALE_SECONDS) -> list[str]:
    """Return the names of the processes that share a folder now, by their claims in ``folder``."""
    names = (path.name.removesuffix(".process") for path in sorted(folder.glob("*.process")))
    return [name for name in names if _is_alive(folder, name, stale_seconds)]


def _announcement(folder: Path, name: str) -> Path:
    return folder / f"{name}.process"


def _is_alive(folder: Path, name: str, stale_seconds: float) -> bool:
    """Tell whether a process goes on: by its number where it is of this machine, else by when it was last heard."""
    path = _announcement(folder, name)
    text = _text(path)
    if text is None:
        return False
    with suppress(ValueError, TypeError, OverflowError, RecursionError):
        about, here = json.loads(text), _this_process()
        if isinstance(about, dict) and all(about.get(key) == here[key] for key in ("boot", "space")):
            return _start_of(int(about.get("pid", 0))) == about.get("start")
    try:
        return _time_of_server(folder) - path.stat().st_mtime < stale_seconds
    except FileNotFoundError:
        return False


def _time_of_server(folder: Path) -> float:
    """Return the time by the clock that stamps the files of a folder."""
    with open_regular(folder / ".time", os.O_WRONLY | os.O_CREAT) as file:
        os.utime(file)
        return os.fstat(file).st_mtime


def _this_process() -> dict[str, Any]:
    """Return what tells whether this process lives, to others of the same machine and container."""
    boot = _text(Path("/proc/sys/kernel/random/boot_id")) or secrets.token_hex(8)
    try:
        space = str(Path("/proc/self/ns/pid").readlink())  # in another container the same number is another process
    except OSError:
        space = secrets.token_hex(8)
    return {"boot": boot.strip(), "space": space, "pid": os.getpid(), "start": _start_of(os.getpid())}


def _start_of(pid: int) -> str | None:
    """Return when a process of this machine began, in ticks; None for one that is gone, or is not reaped yet."""
    stat = _text(Path(f"/proc/{pid}/stat"))
    if stat is None:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in "ZX" else fields[19]


def _text(path: Path) -> str | None:
    """Return the text of a small file, None where there is none. Opening it asks the server anew.

    Raises BadInputError where a link, a pipe or anything else lies in its place.
    """
    try:
        with open_regular(path, os.O_RDONLY) as file:
            return os.read(file, _LONGEST).decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None


def _make(path: Path, content: bytes) -> bool:
    """Make a file that is not there, whole from the start; return False where another process was first."""
    temporary = write_beside(path, content)
    try:
        with suppress(FileExistsError):  # the count tells: an answer may be lost, and the question asked again
            os.link(temporary, path)
        return temporary.stat().st_nlink > 1
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _make_exclusively(path, content)
    finally:
        temporary.unlink(missing_ok=True)


def _make_exclusively(path: Path, content: bytes) -> bool:
    """Make a file on a file system without links."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        return False
    try:
        os.write(file, content)
        os.fsync(file)
    finally:
        os.close(file)
    return True
