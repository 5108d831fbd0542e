"""Turns whatever a library raises over a broken file into one line that names the file and what was expected."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measurebench.core.errors import BadInputError, MeasurebenchError

__all__ = ["described", "parse_json", "parse_toml", "read_text", "reading", "require_file"]

# Faults of the machine, not of the file: another try may succeed, so they must not be told as the file's.
_MACHINE = {errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ESTALE}
_LONGEST = 200  # characters of a library's message; some quote the whole file


@contextmanager
def reading(subject: str | Path, expected: str, hint: str = "") -> Iterator[None]:
    """Let through what the block raises of our own; any other exception becomes a BadInputError about ``subject``.

    What a broken file makes a parser raise has no common class: besides ValueError there are KeyError, AttributeError,
    RecursionError, OverflowError, MemoryError (a header that declares too much) and errors of compiled code. Full
    disks, failing disks and the like pass as they are. Raises BadInputError for all else.

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
    except OSError as error:
        if error.errno in _MACHINE:
            raise
        raise BadInputError(str(subject), expected, error.strerror or described(error), hint) from error
    except Exception as error:
        raise BadInputError(str(subject), expected, described(error), hint) from error


def read_text(path: Path, expected: str, hint: str = "") -> str:
    """Return the content of a regular file of UTF-8 text.

    Raises BadInputError, which says what was ``expected``, for anything else: a pipe would never end.
    """
    require_file(path, expected, hint)
    with reading(path, expected, hint):
        return path.read_text(encoding="utf-8")


def parse_toml(path: Path, expected: str) -> dict[str, Any]:
    """Return the content of a TOML file; raises BadInputError, which says what was ``expected``, for anything else."""
    import tomllib

    require_file(path, expected)
    with reading(path, expected):
        content = path.read_bytes()
    with reading(path, "valid TOML"):
        try:
            return tomllib.loads(content.decode())
        except tomllib.TOMLDecodeError as error:
            raise BadInputError(str(path), "valid TOML", str(error)) from None


def parse_json(path: Path, expected: str, hint: str = "") -> Any:
    """Return the content of a JSON file; raises BadInputError, which says what was ``expected``, for anything else."""
    import json

    text = read_text(path, expected, hint)
    with reading(path, f"{expected} as JSON", hint):
        return json.loads(text)


def require_file(path: Path, expected: str, hint: str = "") -> None:
    """Raise BadInputError for a path at which something other than a regular file lies; a missing file passes."""
    with reading(path, expected, hint):
        if path.exists() and not path.is_file():
            raise BadInputError(str(path), expected, "a folder" if path.is_dir() else "no regular file", hint)


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
