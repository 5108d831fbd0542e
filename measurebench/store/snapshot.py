"""A compact copy of a journal of records, beside it: columns in a Parquet file, made again whenever it is of no use.

The journal stays the truth. A snapshot covers the first bytes of its journal. It is used only while their SHA-256 is
the one that was noted when it was made, and its own SHA-256 is right too. Whatever is wrong with it, it is left unread.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from measurebench.core.files import write_atomically
from measurebench.store.checked_lines import Damage
from measurebench.store.cover import BLOCK, BlockDigests, Cover, snapshot_path
from measurebench.store.journal import Place
from measurebench.store.record_columns import SCHEMA

__all__ = ["read_snapshot", "write_snapshot"]

_FORMAT = 1
_THREADS = 4
_ROWS = 1 << 22  # of one chunk; several chunks have to be put together when they are read
_LONGEST = 1 << 26  # bytes of the description: one line of it for each 4 MiB of journal, one for each damaged line
_SMALL = 1 << 16  # bytes; a Parquet file of a few records is longer than their lines


def read_snapshot(journal: Path) -> tuple[pa.Table, Cover] | None:
    """Return the snapshot of a journal and what it covers, or None where there is none that can be used.

    It reads the part of the journal that is covered, to compare it with its SHA-256. Damaged lines come without their
    bytes.
    """
    path = snapshot_path(journal)
    try:
        told = json.loads(_content(path.with_suffix(".json"), _LONGEST))
        content = _content(path, journal.stat().st_size)
        if told["format"] != _FORMAT or hashlib.sha256(content).hexdigest() != told["sha256"]:
            return None
        cover = _cover(told, journal)
        if cover.blocks.digests() != told["blocks"]:
            return None
        file = pq.ParquetFile(pa.py_buffer(content))
        if file.metadata.num_rows > cover.place.number or not file.schema_arrow.equals(SCHEMA):
            return None
        table = _table(file)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, pa.ArrowException):
        return None
    return table, cover


def _table(file: pq.ParquetFile) -> pa.Table:
    """Return the columns of a file, read one after the other: side by side they take half as much memory again."""
    columns = []
    for name in SCHEMA.names:
        columns.append(file.read(columns=[name], use_threads=False).column(0))
        pa.default_memory_pool().release_unused()  # what decoding took
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _content(path: Path, longest: int) -> bytes:
    """Return the bytes of a regular file. Raises ValueError for another kind of file, and for one that is too long."""
    if not path.is_file() or path.stat().st_size > longest + _SMALL:
        raise ValueError(path)
    return path.read_bytes()


def _cover(told: Any, journal: Path) -> Cover:
    """Return what a snapshot says that it covers, with the digests that those bytes of the journal have now.

    Raises KeyError, TypeError or ValueError where it says it badly.
    """
    place = Place(**told["place"])
    if type(place.offset) is not int or type(place.number) is not int or type(place.checked) is not bool:
        raise TypeError(place)
    damages = [Damage(int(number), str(reason), b"") for number, reason in told["damages"]]
    return Cover(place, damages, _digests_of(journal, place.offset))


def write_snapshot(journal: Path, table: pa.Table, cover: Cover) -> bool:
    """Write the snapshot of a journal; return whether that was possible.

    In a folder that cannot be written to, or on a full disk, there is no snapshot, and nothing else changes.
    """
    path = snapshot_path(journal)
    if path.parent.is_symlink():  # what it points to is not ours to write to
        return False
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", row_group_size=_ROWS)
    content = buffer.getvalue()
    damages = [[damage.number, damage.reason] for damage in cover.damages]
    told = {"format": _FORMAT, "journal": journal.name, "place": asdict(cover.place), "damages": damages}
    told |= {"blocks": cover.blocks.digests(), "sha256": hashlib.sha256(content).hexdigest()}
    try:
        path.parent.mkdir(exist_ok=True)
        # The columns first: a kill between the two leaves a description of other columns, which is not used.
        write_atomically(path, content)
        write_atomically(path.with_suffix(".json"), json.dumps(told, indent=1).encode() + b"\n")
    except OSError:
        return False
    return True


def _digests_of(path: Path, length: int) -> BlockDigests:
    """Return the digests of the first bytes of a file. Raises ValueError where the file is shorter."""
    if not 0 <= length <= path.stat().st_size:
        raise ValueError("shorter")

    def digest(start: int) -> Any:
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            return hashlib.sha256(file.read(min(BLOCK, length - start)))

    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        found = list(pool.map(digest, range(0, length, BLOCK)))
    last = found.pop() if length % BLOCK else None
    return BlockDigests([each.hexdigest() for each in found], last, length % BLOCK)
