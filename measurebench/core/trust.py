"""Whose code may run: code that a data file names runs only with the user's word, asked once per folder and kept.

Manifests, configuration files and grids are data, and people pass them on. Built-in names and names that installed
packages register need no word, nor does code that the user names on the command line or in Python. Anything else, such
as ``architecture = "nets.py:small"`` in a manifest, would let its author run commands on the reader's machine.
"""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from measurebench.core.errors import BadInputError
from measurebench.core.files import write_atomically
from measurebench.core.paths import config_folder

__all__ = ["NamedCode", "UntrustedCodeError", "demand_word", "is_trusted", "trust", "trusted_folders_file"]

# An entry of the user's list that ends so covers every folder below as well; only the user writes such entries.
_BELOW = "/**"


class UntrustedCodeError(BadInputError):
    """A data file names code, and the user has not said that it may run."""


@dataclass(frozen=True)
class NamedCode:
    """Code that a data file names: ``file`` is the data file, ``field`` the place in it, ``call`` what would run.

    ``expected`` says what the field holds where it names no code.
    """

    file: str
    field: str
    call: str
    expected: str = "a built-in name"

    @property
    def folder(self) -> Path:
        """The folder whose author is to be trusted."""
        return Path(self.file).resolve().parent


def demand_word(code: Iterable[NamedCode], trust_code: bool) -> None:
    """Let code that data files name run where the user has given the word, now or before for the same folder.

    With ``trust_code`` the folders of the data files are kept in the user's configuration. Raises UntrustedCodeError,
    which says what would have run, where neither holds.
    """
    for item in code:
        if trust_code:
            trust(item.folder)
        elif not is_trusted(item.folder):
            hint = (
                f"if you trust whoever wrote {item.folder}, add --trust-code (trust_code=True in Python); the answer "
                "is kept for this folder"
            )
            got = f"code that would run: {item.call}"
            raise UntrustedCodeError(f"{item.file}: {item.field}", item.expected, got, hint)


def is_trusted(folder: Path) -> bool:
    """Tell whether the user has given the word for a folder, or has listed a folder above it with ``/**``."""
    known, place = _known(), folder.resolve()
    return str(place) in known or any(f"{above}{_BELOW}" in known for above in (place, *place.parents))


def trust(folder: Path) -> None:
    """Keep the user's word for a folder. Where the configuration cannot be written, it holds for this call alone."""
    place = str(folder.resolve())
    known = _known()
    if place in known:
        return
    known[place] = datetime.now(UTC).isoformat(timespec="seconds")
    with suppress(OSError, UnicodeError):  # the name of a folder need not be text
        write_atomically(trusted_folders_file(), json.dumps(known, indent=1, sort_keys=True).encode() + b"\n")


def trusted_folders_file() -> Path:
    """Return the file in the user's configuration that lists the folders whose code may run, each with the time."""
    return config_folder() / "trusted-folders.json"


def _known() -> dict[str, str]:
    """Return the user's list; a file that anybody may write to, or that is no such list, counts as empty."""
    try:
        path = trusted_folders_file()
        if not path.is_file() or os.stat(path).st_mode & 0o002:  # noqa: PTH116 - one call for both questions
            return {}
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(name): str(time) for name, time in found.items()} if isinstance(found, dict) else {}
