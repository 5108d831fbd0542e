"""Reads files that the user or a data file names: regular files up to a limit, each fault told in one line."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError, MeasurebenchError
from measurebench.core.limits import NESTING, Limit
from measurebench.core.machine_faults import machine_fault

__all__ = [
    "check_file",
    "check_nesting",
    "described",
    "kind_of",
    "parse_json",
    "parse_toml",
    "read_bytes",
    "read_text",
    "reading",
]

_LONGEST = 200  # characters of a library's message; some quote the whole file


@contextmanager
def reading(subject: str | Path, expected: str, hint: str = "") -> Iterator[None]:
    """Let through what the block raises of our own; any other exception becomes a BadInputError about ``subject``.

    What a broken file makes a parser raise has no common class: besides ValueError there are KeyError, AttributeError,
    RecursionError, OverflowError and errors of compiled code. Faults of the machine, such as a full disk, pass as they
    are: another try may succeed, so they must not be told as the file's. Raises BadInputError for all else.

    >>> with reading("models.toml", "a manifest"):
    ...     {}["model"]
    Traceback (most recent call last):
    measurebench.core.errors.BadInputError: models.toml: expected a manifest, got KeyError: 'model'
    """
    try:
        yield
    except MeasurebenchError:
        raise
    except FileNotFoundError:
        raise BadInputError(str(subject), expected, "no such file", hint) from None
    except Exception as error:
        if machine_fault(error):
            raise
        told = error.strerror if isinstance(error, OSError) else ""
        raise BadInputError(str(subject), expected, told or described(error), hint) from error


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


def parse_toml(path: Path, limit: Limit, what: str) -> dict[str, Any]:
    """Return the content of a TOML file of at most ``limit`` bytes.

    Raises BadInputError, which says that ``what`` was expected, for anything else, and LimitError for a larger file or
    deeper nesting than is allowed.
    """
    import tomllib

    with reading(path, what):
        content = read_bytes(path, limit, what)
    with reading(path, "valid TOML"):
        try:
            table = tomllib.loads(content.decode())
        except tomllib.TOMLDecodeError as error:
            raise BadInputError(str(path), "valid TOML", str(error)) from None
    return dict(check_nesting(table, str(path)))


def parse_json(path: Path, limit: Limit, what: str, hint: str = "") -> Any:
    """Return the content of a JSON file of at most ``limit`` bytes; raises as ``parse_toml`` does."""
    import json

    with reading(path, what, hint):
        text = read_text(path, limit, what)
    with reading(path, f"{what} as JSON", hint):
        content = json.loads(text)
    return check_nesting(content, str(path))


def check_nesting(value: Any, subject: str) -> Any:
    """Return a value of lists and tables, which may not be nested too deep. Raises LimitError."""
    level, depth = [value], 0
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        NESTING.check(depth, subject)
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return value


def described(error: BaseException) -> str:
    """Return the type and the message of an error in one short line.

    >>> described(ValueError("first\\nsecond"))
    'ValueError: first second'
    """
    if isinstance(error, UnicodeDecodeError):
        return "bytes that are not text in UTF-8"
    text = " ".join(str(error).split())
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _opened(path: Path, limit: Limit | None, what: str) -> int:
    """Open a file without waiting, as opening a pipe would, and look at what was opened."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        if path.exists() and not path.is_file():  # sockets, and devices without a driver, cannot even be opened
            raise BadInputError(str(path), what, _kind(path.stat().st_mode)) from None
        raise
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


def kind_of(path: Path) -> str:
    """Return what stands at a path that is no regular file, in words: no such file, a folder, a pipe."""
    try:
        return _kind(path.stat().st_mode)
    except OSError as error:
        return "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")
