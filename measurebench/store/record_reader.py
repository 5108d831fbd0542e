"""Reads the records of a journal: what its snapshot holds, then the lines after it, each with its checksum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from measurebench.core.errors import BadInputError
from measurebench.core.records import Record
from measurebench.store.checked_lines import Damage
from measurebench.store.cover import Cover
from measurebench.store.journal import Journal
from measurebench.store.record_set import RecordSet, joined

__all__ = ["SNAPSHOT_BYTES", "RecordReader", "record_set"]

# A journal of this size is read in about 0.1 s, less than a snapshot takes to be imported, read and compared.
SNAPSHOT_BYTES = 1 << 22
_SHARE = 10  # a snapshot is made again when so many times the lines after it are as long as the lines that it covers
_PART = 1 << 15  # records that are held one by one before they become columns
_END = 64  # bytes before a place by which a file is known again; a line's checksum is among them


class RecordReader:
    """Reads one journal, and at the next time only what was added meanwhile."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._begin()

    def _begin(self) -> None:
        """Forget what was read."""
        self.records, self.numbers = list[Record](), list[int]()
        self.tables: list[Any] = []  # the records before those, as Arrow tables
        self.cover = Cover()
        self._covered = 0  # bytes of the journal that a snapshot covers
        self.known: tuple[int, int, bytes] | None = None  # what tells the file that was read from any other

    def read(self) -> None:
        """Read what was not read before. Raises BadInputError, which names the line, where one is no record."""
        if self.known is None or self._identity() != self.known:
            self._begin()
            if self._size() >= SNAPSHOT_BYTES:
                self._read_snapshot()
        try:
            self._read_lines()
        except BaseException:
            self._begin()
            raise
        self.known = self._identity()
        if self._is_due(self.cover.place.offset):
            self._write_snapshot()

    def refresh(self) -> None:
        """Bring the snapshot up to date if many lines were added since it was made; to be called after each."""
        if self._is_due(self._size()):
            self.read()

    def is_covered(self) -> bool:
        """Tell whether all that was read is in one table, which the snapshot holds too."""
        return len(self.tables) == 1 and not self.records and self._covered == self.cover.place.offset

    def _is_due(self, size: int) -> bool:
        return size - self._covered >= max(SNAPSHOT_BYTES, self._covered // _SHARE)

    def has_damage(self) -> bool:
        """Tell whether any line is damaged; a line that is whole but no record is none of them."""
        try:
            self.read()
        except BadInputError:
            return bool(self.journal.examine()[1])
        return bool(self.cover.damages)

    def _read_snapshot(self) -> None:
        from measurebench.store.snapshot import read_snapshot

        if (found := read_snapshot(self.journal.path)) is not None:
            self.tables, self.cover = [found[0]], found[1]
            self._covered = self.cover.place.offset

    def _read_lines(self) -> None:
        for number, value in self.journal.scan(self.cover.place, self.cover.blocks.update):
            if isinstance(value, Damage):
                self.cover.damages.append(value)
                continue
            try:
                self.records.append(Record.from_json(value, ""))
            except BadInputError:
                Record.from_json(value, f"{self.journal.path}, line {number}")
                raise
            self.numbers.append(number)
            if len(self.records) == _PART:
                self._pack()

    def _pack(self) -> None:
        """Turn the records that are held one by one into columns."""
        from measurebench.store.record_columns import table_of

        if self.records:
            self.tables.append(table_of(self.records, self.numbers))
            self.records, self.numbers = [], []

    def _write_snapshot(self) -> None:
        """Write the snapshot of all that was read; in a folder that cannot be written to, there is none."""
        from measurebench.store.record_columns import joined_tables
        from measurebench.store.snapshot import write_snapshot

        self._pack()
        self.tables = [joined_tables([self.tables])]
        write_snapshot(self.journal.path, self.tables[0], self.cover)
        self._covered = (
            self.cover.place.offset
        )  # where it could not be written, the next try waits for as many lines again

    def _size(self) -> int:
        return self.journal.path.stat().st_size if self.journal.path.is_file() else 0

    def _identity(self) -> tuple[int, int, bytes] | None:
        """Return what tells the file that was read from another in its place; None where it is shorter or missing."""
        if not self.journal.path.is_file():
            return None
        with self.journal.path.open("rb") as file:
            file.seek(max(0, self.cover.place.offset - _END))
            end = file.read(min(_END, self.cover.place.offset))
        return self.journal.path.stat().st_ino, self.cover.place.offset, end


def record_set(readers: Sequence[RecordReader]) -> RecordSet:
    """Return the records that were read from journals, of several with one key the one that counts."""
    if not any(reader.tables for reader in readers):
        return joined(reader.records for reader in readers)
    from measurebench.store.record_columns import RecordColumns, joined_tables, table_of

    if len(readers) == 1 and readers[0].is_covered():
        return RecordColumns(readers[0].tables[0])
    last = [[table_of(reader.records, reader.numbers)] if reader.records else [] for reader in readers]
    return RecordColumns(joined_tables([[*reader.tables, *rest] for reader, rest in zip(readers, last, strict=True)]))
