"""Downloads files into a cache: resumes broken downloads, checks the whole file, and renames it into place."""

import fcntl
import hashlib
import os
import re
import time
import urllib.error
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from measurebench.core.digests import digest_file
from measurebench.core.errors import BadInputError, DamageWarning, MeasurebenchError
from measurebench.core.files import open_regular, sync_folder, write_atomically
from measurebench.core.http_transfer import NETWORK_ERRORS, Transfer, Unfinished
from measurebench.core.machine_faults import MachineError, machine_fault
from measurebench.core.whole_files import damage_of, shows_its_end

__all__ = [
    "DownloadError",
    "Patience",
    "Remote",
    "fetch",
    "is_offline",
    "kept_damage",
    "note_sha256",
    "noted_sha256",
]

_CHUNK = 1 << 18


@dataclass(frozen=True)
class Remote:
    """The address of a file, and the page on which a person can download it in a browser."""

    address: str
    page: str = ""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a silent server, how often to try, and how long to pause between attempts."""

    stall_seconds: float = 30.0
    attempts: int = 5
    pause_seconds: float = 1.0


class DownloadError(MeasurebenchError):
    """A file could not be downloaded; the message says where to get it and where to put it by hand."""


Check = Callable[[Path], object]


def is_offline() -> bool:
    """Tell whether the environment variable ``MEASUREBENCH_OFFLINE`` forbids downloads; 0, no and false do not."""
    return os.environ.get("MEASUREBENCH_OFFLINE", "").lower() not in ("", "0", "false", "no")


def fetch(
    remote: Remote,
    target: Path,
    check: Check,
    *,
    md5: str | None = None,
    offline: bool = False,
    patience: Patience | None = None,
) -> Path:
    """Return the path of a file, after downloading it if it is not there. Two processes may call it at once.

    The download goes to ``TARGET.partial``, and a broken one is continued there. The whole file is checked by its own
    structure, with ``md5`` and with ``check`` (which raises a MeasurebenchError for a file that is not right); its
    SHA-256 is noted beside it, and it is renamed to ``target``. A file that is there but no longer as it was noted is
    fetched again, with a DamageWarning. Raises DownloadError with the address and the path for a download by hand,
    and MachineError for a full or lost disk.
    """
    before = _version(target)  # first: another process may bring the file at any time
    damage = kept_damage(target, check) if before else ""
    if before and not damage:
        return target
    if offline or is_offline():
        state = damage or "not in the cache"
        raise DownloadError(_by_hand(f"{target.name}: {state}, and the network is not to be used", remote, target))
    if damage:
        warnings.warn(f"{target}: {damage}; it is fetched again", DamageWarning, stacklevel=2)
    _make_folder(target.parent)
    with _locked(target, before) as file:
        if file is not None:
            _download(remote, target, file, (check, md5), patience or Patience())
    return target


def kept_damage(target: Path, check: Check | None = None) -> str:
    """Return what is wrong with a file of the cache, or an empty string.

    It must have the SHA-256 that was noted when it was fetched. One without a note, which a person put there, must be
    whole by its structure and pass ``check``.
    """
    if noted := noted_sha256(target):
        return "" if _digest(target) == noted else "the kept file is not as it was fetched"
    try:
        _check_content(target, check or bool, None)
    except MeasurebenchError as error:
        return str(error).removeprefix(f"{target}: ")
    return ""


def noted_sha256(target: Path) -> str | None:
    """Return the SHA-256 that was noted when a file was first used, or None; a damaged note counts as none."""
    note = _note_of(target)
    text = note.read_text(errors="replace").strip() if note.is_file() else ""
    return text if re.fullmatch("[0-9a-f]{64}", text) else None


def note_sha256(target: Path, sha256: str) -> None:
    """Note the SHA-256 of a file beside it, unless there is a note already."""
    if noted_sha256(target) is None:
        write_atomically(_note_of(target), f"{sha256}\n".encode())


def _note_of(target: Path) -> Path:
    """Return the file that holds the noted hash."""
    return target.with_name(target.name + ".sha256")


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, read once per process as long as it does not change."""
    found = path.stat()
    return _digest_of(path, found.st_size, found.st_mtime_ns, found.st_ino)


@lru_cache(maxsize=512)
def _digest_of(path: Path, *_version: int) -> str:
    return digest_file(path)


def _make_folder(folder: Path) -> None:
    """Make the cache folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, "a folder that can be written", error) from error


def _unusable(folder: Path, expected: str, error: OSError) -> BadInputError:
    hint = "set MEASUREBENCH_CACHE to another one"
    return BadInputError(f"cache {folder}", expected, error.strerror or str(error), hint)


@contextmanager
def _locked(target: Path, before: tuple[int, int] | None) -> Iterator[int | None]:
    """Hold the partial file of a target against other processes; None where another has brought it since ``before``.

    The lock is on the open file itself: removing a file by its name cannot let two processes write to one.
    """
    partial = target.with_name(f"{target.name}.partial")
    while True:
        with open_regular(partial) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                expected = "a folder on a file system that can lock files"
                raise _unusable(target.parent, expected, error) from error
            if _version(target) != before:
                if _is_named(file, partial):
                    partial.unlink()  # made by opening it
                yield None
                return
            if _is_named(file, partial):
                yield file
                return


def _version(path: Path) -> tuple[int, int] | None:
    """Return what changes when another file takes the place of this one; None where there is no file."""
    if not path.is_file():
        return None
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def _is_named(file: int, path: Path) -> bool:
    """Tell whether the open file is the one of this name; it may have been renamed while the lock was waited for."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _download(remote: Remote, target: Path, file: int, checks: tuple[Check, str | None], patience: Patience) -> None:
    """Download to the partial file in as many attempts as patience allows, then check and rename it."""
    partial = target.with_name(f"{target.name}.partial")
    transfer = Transfer(remote.address, target.name, file, target.with_name(f"{target.name}.partial.tag"))
    reason = "no answer"
    for attempt in range(patience.attempts):
        if attempt:
            time.sleep(patience.pause_seconds)
        try:
            transfer.attempt(patience.stall_seconds)
            _accept(partial, target, transfer, checks)
        except MachineError:
            raise
        except urllib.error.HTTPError as error:
            reason = f"the server answered {error.code} {error.reason}"
            if error.code in (401, 403, 404, 410):  # another attempt would get the same answer
                break
        except Unfinished as error:
            reason = str(error)
        except NETWORK_ERRORS as error:
            reason = _reason(error)
        except DownloadError as error:
            again = transfer.joined  # it may be the joining that spoilt it
            transfer.start_over()
            reason = str(error)
            if not again:
                partial.unlink(missing_ok=True)
                raise DownloadError(_by_hand(f"the download of {reason}", remote, target)) from None
        else:
            return
    raise DownloadError(_by_hand(f"{target.name}: could not be downloaded: {reason}", remote, target))


def _accept(partial: Path, target: Path, transfer: Transfer, checks: tuple[Check, str | None]) -> None:
    """Check a whole download and put it in place.

    Raises DownloadError for one that is not right, MachineError or BadInputError where the disk refuses.
    """
    check, md5 = checks
    try:
        _check_name(partial, transfer)
        _check_content(partial, check, md5)
        _check_end(partial, transfer, bool(md5))
        _place(partial, target, transfer)
    except MachineError:
        raise
    except OSError as error:
        raise (machine_fault(error, target.name) or _unusable(target.parent, "a folder to write to", error)) from error
    except MeasurebenchError as error:
        raise DownloadError(str(error).replace(str(partial), target.name)) from None


def _check_end(partial: Path, transfer: Transfer, has_md5: bool) -> None:
    """Refuse a file of which nothing says that it is whole."""
    if not (has_md5 or transfer.end_is_known or shows_its_end(partial)):
        raise BadInputError(str(partial), "a length or another sign of the file's end", "none")


def _check_name(partial: Path, transfer: Transfer) -> None:
    """Refuse a file whose name is gone or another's: what is checked and moved by that name would be another file."""
    if not _is_named(transfer.file, partial):
        raise BadInputError(str(partial), "a file that no other process removes", "another file of this name")


def _place(partial: Path, target: Path, transfer: Transfer) -> None:
    """Note the hash of a file that is whole, and move it to its place."""
    os.fsync(transfer.file)
    write_atomically(_note_of(target), f"{digest_file(partial)}\n".encode())
    transfer.note.unlink(missing_ok=True)
    partial.replace(target)
    sync_folder(target.parent)


def _check_content(path: Path, check: Check, md5: str | None) -> None:
    """Check a file by its MD5, by what its user needs, and by its own structure. Raises a MeasurebenchError."""
    if md5:
        _check_md5(path, md5)
    check(path)
    if damage := damage_of(path):
        raise BadInputError(str(path), "a whole file", damage)


def _check_md5(path: Path, md5: str) -> None:
    """Compare with the published MD5, which detects damage but not malice."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != md5:
        raise BadInputError(str(path), f"the file with MD5 {md5}", digest.hexdigest(), "damaged, or another file")


def _reason(error: BaseException) -> str:
    """Say what a network error was."""
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return "the server stopped sending"
    return str(getattr(error, "reason", error)) or type(error).__name__


def _by_hand(what: str, remote: Remote, target: Path) -> str:
    """Add to a message how a person can help."""
    return f"{what}; open {remote.page or remote.address} in a browser and save the file as {target}"
