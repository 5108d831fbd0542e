"""Kinds of options: what each accepts, in which form it is kept, and how that is said in words."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "ALL",
    "Kind",
    "all_or_whole",
    "auto_or_whole",
    "file",
    "flag",
    "folder",
    "names",
    "one_of",
    "paths",
    "text",
    "whole",
]


ALL = 10**9  # an upper limit that no data set in memory reaches


@dataclass(frozen=True)
class Kind:
    """What an option accepts.

    ``expected`` says it in words. ``accept`` returns a value in the form in which it is kept, or raises ValueError or
    TypeError. ``read`` turns a word of the command line into a value for ``accept``.
    """

    expected: str
    accept: Callable[[Any], Any]
    metavar: str = "TEXT"
    read: Callable[[str], Any] = str
    choices: tuple[str, ...] = ()
    is_flag: bool = False


def text(expected: str = "text", metavar: str = "TEXT") -> Kind:
    """Return the kind of a text that is not empty."""
    return Kind(expected, lambda value: _fit(value, isinstance(value, str) and value != ""), metavar)


def names(expected: str) -> Kind:
    """Return the kind of names with commas between; a list of names is taken too and joined."""
    return Kind(expected, _joined, "NAME,NAME")


def whole(least: int | None = None) -> Kind:
    """Return the kind of a whole number, at least ``least``; a truth value is not a number."""
    words = "a whole number" if least is None else f"a whole number, at least {least}"
    return Kind(words, lambda value: _fit(value, _is_whole(value, least)), "N", _number)


def auto_or_whole(least: int = 1) -> Kind:
    """Return the kind of ``auto`` or a whole number, at least ``least``."""
    words = f"auto or a whole number, at least {least}"
    return Kind(words, lambda value: _fit(value, value == "auto" or _is_whole(value, least)), "auto|N", _number)


def all_or_whole(least: int = 1) -> Kind:
    """Return the kind of ``all``, which is kept as the number ALL, or a whole number, at least ``least``."""
    words = f"all or a whole number, at least {least}"
    return Kind(words, lambda value: ALL if value == "all" else _fit(value, _is_whole(value, least)), "N", _number)


def one_of(*choices: str) -> Kind:
    """Return the kind of one of several words."""
    words = " or ".join((", ".join(choices[:-1]), choices[-1]))
    return Kind(words, lambda value: _fit(value, value in choices), "|".join(choices), choices=choices)


def folder() -> Kind:
    """Return the kind of a folder's path, as text or Path; it is kept as Path."""
    return Kind("a folder's path", lambda value: Path(_fit(value, isinstance(value, str | Path))), "DIR")


def file(what: str) -> Kind:
    """Return the kind of a file's path, as text or Path; it is kept as Path."""
    return Kind(what, lambda value: Path(_fit(value, isinstance(value, str | Path) and str(value) != "")), "FILE")


def paths(what: str) -> Kind:
    """Return the kind of one or several files, as a list or with commas between; they are kept as a tuple of Path."""
    return Kind(f"{what}, with commas between", _paths, "FILE,FILE")


def flag() -> Kind:
    """Return the kind of a switch that is off unless it is given."""
    return Kind("true or false", lambda value: _fit(value, isinstance(value, bool)), is_flag=True)


def _fit(value: Any, fits: bool) -> Any:
    if not fits:
        raise ValueError(value)
    return value


def _is_whole(value: Any, least: int | None) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and (least is None or value >= least)


def _number(word: str) -> int | str:
    """Return a word as a number where it is one; otherwise as it is, to be refused with its own text."""
    return int(word) if re.fullmatch(r"[+-]?\d{1,18}", word) else word


def _paths(value: Any) -> tuple[Path, ...]:
    parts = value.split(",") if isinstance(value, str) else [value] if isinstance(value, Path) else list(value)
    found = [str(part).strip() for part in parts if isinstance(part, str | Path)]
    return tuple(Path(part) for part in _fit(found, bool(found) and all(found) and len(found) == len(parts)))


def _joined(value: Any) -> str:
    parts = value.split(",") if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []
    found = [part.strip() for part in parts if isinstance(part, str)]
    return ",".join(_fit([part for part in found if part], bool(parts) and len(found) == len(parts)))
