"""Reads files that the user or a data file names: regular files only, up to a limit, so that nothing waits for ever."""

import os
import stat
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError
from measurebench.core.limits import NESTING, Limit

__all__ = ["check_file", "check_nesting", "read_bytes", "read_text"]


def check_file(path: Path, limit: Limit | None, what: str) -> None:
    """Check a file that a library will read. Raises as ``read_bytes`` does; ``limit`` is on its size in bytes."""
    os.close(_opened(path, limit, what))


def read_bytes(path: Path, limit: Limit, what: str) -> bytes:
    """Return the content of a regular file, or of a link to one.

    Raises BadInputError, which says that ``what`` was expected, for a folder, a pipe, a device or a socket; LimitError
    for a file that is larger than the limit; and OSError, such as FileNotFoundError, where it cannot be opened.
    """
    with os.fdopen(_opened(path, limit, what), "rb") as file:
        content = file.read(limit.allowed + 1)
    limit.check(len(content), str(path))  # it may have grown since it was opened
    return content


def read_text(path: Path, limit: Limit, what: str) -> str:
    """Return the content of a file of UTF-8 text; raises UnicodeDecodeError for other bytes, else as ``read_bytes``."""
    return read_bytes(path, limit, what).decode("utf-8").replace("\r\n", "\n")


def check_nesting(value: Any, subject: str) -> Any:
    """Return a value of lists and tables, which may not be nested too deep. Raises LimitError."""
    level, depth = [value], 0
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        NESTING.check(depth, subject)
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return value


def _opened(path: Path, limit: Limit | None, what: str) -> int:
    """Open a file without waiting, as opening a pipe would, and look at what was opened."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise BadInputError(str(path), what, _kind(found.st_mode))  # noqa: TRY301 - the file is closed first
        if limit is not None:
            limit.check(found.st_size, str(path))
    except BaseException:
        os.close(file)
        raise
    return file


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")
