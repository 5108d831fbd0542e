"""Follows what other processes write to the journals of a shared folder."""

from pathlib import Path
from typing import Any

from measurebench.store.checked_lines import Damage, LineReader
from measurebench.store.folder import ResultsFolder
from measurebench.store.journal import end_of_last_whole_line

__all__ = ["RecordFollower"]


class RecordFollower:
    """The records that other processes have written to a folder since this object was made, or last asked."""

    def __init__(self, folder: ResultsFolder) -> None:
        self._folder = folder
        self._own = folder.writer
        self._read: dict[Path, int] = {}  # bytes of whole lines that were read
        for path in self._paths():
            with path.open("rb") as file:
                self._read[path] = end_of_last_whole_line(file.fileno())

    def _paths(self) -> list[Path]:
        found = (journal.path for journal in self._folder.record_journals)
        return [path for path in found if path.is_file() and not path.stem.endswith(f"-{self._own}")]

    def news(self) -> list[dict[str, Any]]:
        """Return the new records as plain values; lines that are damaged or not yet whole are left out."""
        found = []
        for path in self._paths():
            start = self._read.get(path, 0)
            with path.open("rb") as file:
                file.seek(start)
                whole, newline, _ = file.read().rpartition(b"\n")
            self._read[path] = start + len(whole) + len(newline)
            reader = LineReader()
            values = [reader.read(line, number) for number, line in enumerate(whole.split(b"\n"), 1) if line.strip()]
            found += [value for value in values if not isinstance(value, Damage)]
        return found
