"""Files that are written whole or not at all, opened without following links, and named for ids of any kind."""

import errno
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from measurebench.core.errors import BadInputError

__all__ = [
    "TEMPORARY",
    "file_name",
    "is_temporary",
    "open_regular",
    "remove_temporaries",
    "sync_folder",
    "write_all",
    "write_atomically",
    "write_beside",
]

# Ending of files and folders that are being written. One that is left over belongs to a process that was killed.
TEMPORARY = ".measurebench.tmp"
# File systems take names of 255 bytes; endings such as "-autoattack_accuracy.npz" need some of them.
_LONGEST_NAME = 180


def file_name(model_id: str) -> str:
    """Return an id as the name of one file or folder: percent-encoded, so that no character leaves the folder.

    A long one is cut and ends in a hash of the whole id.

    >>> file_name("robustbench:Linf/Wong2020Fast")
    'robustbench%3ALinf%2FWong2020Fast'
    >>> file_name("..")
    '%2E%2E'
    """
    quoted = quote(model_id, safe="", errors="surrogateescape")
    if len(quoted) > _LONGEST_NAME:
        known = hashlib.sha256(model_id.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return f"{quoted[: _LONGEST_NAME - 17]}-{known}"
    return quoted.replace(".", "%2E") if set(model_id) <= {"."} else quoted


def is_temporary(path: Path) -> bool:
    """Tell whether a file or folder is one that measurebench was writing when its process ended.

    >>> is_temporary(Path("r/.0123456789abcdef.measurebench.tmp")), is_temporary(Path("r/notes.tmp"))
    (True, False)
    """
    return path.name.endswith(TEMPORARY)


def remove_temporaries(folder: Path, *, inside: bool = False, older_than: float = 0.0) -> None:
    """Remove what killed processes were writing in a folder, and with ``inside`` in all folders below it.

    Call it where nobody else can be writing, or with ``older_than`` seconds that no writing takes.
    """
    for child in folder.rglob(f".*{TEMPORARY}") if inside else folder.glob(f".*{TEMPORARY}"):
        with suppress(OSError):  # one that cannot be removed does not block anything
            if time.time() - child.lstat().st_mtime >= older_than:
                shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()


@contextmanager
def open_regular(path: Path, flags: int = os.O_RDWR | os.O_APPEND | os.O_CREAT) -> Iterator[int]:
    """Open a regular file, by default for reading and appending, and never follow a link; yields its descriptor.

    Raises BadInputError where a link, a pipe or anything else lies in its place, OSError where it cannot be opened.
    """
    try:
        # O_NONBLOCK: opening a pipe would otherwise wait for its other end.
        file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            got = "a link" if error.errno == errno.ELOOP else "a pipe"
            raise BadInputError(str(path), "a regular file", got) from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise BadInputError(str(path), "a regular file", "something else")
        yield file
    finally:
        os.close(file)


def write_all(file: int, content: bytes) -> None:
    """Write all bytes to a descriptor and wait until they are on the disk. Raises OSError where that fails."""
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]
    os.fsync(file)


def write_beside(path: Path, content: bytes) -> Path:
    """Write the future content of a file beside it, and return the temporary file, to be moved to ``path``.

    The content is on the disk when this returns. Raises OSError where it cannot be written; then nothing is left.
    """
    # In the same folder, since only a rename within one file system is atomic.
    temporary = path.with_name(f".{secrets.token_hex(8)}{TEMPORARY}")
    try:
        # O_EXCL: never through a link that somebody put there.
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            write_all(file, content)
        finally:
            os.close(file)
    except BaseException:
        _remove(temporary)
        raise
    return temporary


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that after a crash or on a full disk it holds the old content or the new, never a part.

    Makes the folder where it is missing; permissions are those that the umask leaves. A link at ``path`` is replaced,
    what it points to stays as it is. Raises OSError where the folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = write_beside(path, content)
    try:
        temporary.replace(path)
    except BaseException:
        _remove(temporary)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where its file system can do that."""
    with suppress(OSError):  # the content is safe already; some network file systems refuse this
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(temporary: Path) -> None:
    """Remove a temporary file; where even that fails, the error that led here is the one to tell."""
    with suppress(OSError):
        temporary.unlink(missing_ok=True)
