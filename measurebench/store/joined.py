"""Journals of a folder that several processes write to: each has a file of its own, and readers join them."""

import re
from pathlib import Path
from typing import Any

from measurebench.core.files import write_atomically
from measurebench.store.checked_lines import Damage
from measurebench.store.journal import Journal

__all__ = ["JoinedJournal"]

_WRITER = r"-\d{8}T\d{6}Z-[\w.-]+"  # when a process began, and its name: names sort by time


class JoinedJournal(Journal):
    """The lines of ``NAME.jsonl`` and after them those of each ``NAME-WRITER.jsonl``, in the order the writers began.

    Lines are appended to the writer's own file, or to ``NAME.jsonl`` where ``writer`` is empty: that is the file of a
    process which has the folder for itself.
    """

    def __init__(self, path: Path, writer: str = "") -> None:
        super().__init__(path.with_name(f"{path.stem}-{writer}{path.suffix}") if writer else path)
        self.main = Journal(path)

    @property
    def parts(self) -> tuple[Journal, ...]:
        """The journals of single files, that of ``NAME.jsonl`` first, whether it exists or not."""
        return (self.main, *self._sides())

    def _sides(self) -> list[Journal]:
        whole = self.main.path
        pattern = re.compile(re.escape(whole.stem) + _WRITER + re.escape(whole.suffix))
        found = whole.parent.glob(f"{whole.stem}-*{whole.suffix}")
        return [Journal(path) for path in sorted(found) if pattern.fullmatch(path.name)]

    def examine(self) -> tuple[list[tuple[int, dict[str, Any]]], list[Damage]]:
        """Return the objects of all files with the numbers of their lines in their file, and the damaged lines.

        Raises BadInputError where one of them is no regular file.
        """
        found, damages = list[tuple[int, dict[str, Any]]](), list[Damage]()
        for part in self.parts:
            values, broken = part.examine()
            found, damages = found + values, damages + broken
        return found, damages

    def read(self) -> list[dict[str, Any]]:
        """Return the objects of all whole lines. Raises BadInputError where a path is no regular file.

        Damaged lines are left out; a DamageWarning names each.
        """
        return [value for part in self.parts for value in part.read()]

    def fold(self) -> None:
        """Move the lines of all writers to ``NAME.jsonl``. The folder must be locked against them.

        A kill at any moment loses no line and doubles none. Raises OSError where the disk refuses.
        """
        sides = self._sides()
        if not sides:
            return
        whole = _whole_lines(self.main.path)
        known = set(whole)  # lines that were moved before a kill, whose file is still there
        for side in sides:
            whole += [line for line in _whole_lines(side.path) if line not in known]
        if whole:
            write_atomically(self.main.path, b"\n".join(whole) + b"\n")
        for side in sides:
            side.path.unlink()


def _whole_lines(path: Path) -> list[bytes]:
    """Return the lines of a file that end, without the part of a line that a kill left."""
    return path.read_bytes().rpartition(b"\n")[0].split(b"\n") if path.is_file() else []
