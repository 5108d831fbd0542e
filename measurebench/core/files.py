"""Files that are written whole or not at all, and names of files for ids of any kind."""

import hashlib
import os
import secrets
from pathlib import Path
from urllib.parse import quote

__all__ = ["TEMPORARY", "file_name", "write_atomically"]

# Ending of files that are being written. One that is left over belongs to a process that was killed.
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


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that after a crash or on a full disk it holds the old content or the new, never a part.

    Makes the folder where it is missing; permissions are those that the umask leaves. A link at ``path`` is replaced,
    what it points to stays as it is. Raises OSError where the folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since only a rename within one file system is atomic.
    temporary = path.with_name(f".{secrets.token_hex(8)}{TEMPORARY}")
    try:
        with temporary.open("xb") as file:  # x: never through a link that somebody put there
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
