"""Records as columns of an Arrow table: a million of them in little memory, and found by model without making all.

The rows of a table are sorted by model, weights and configuration; ``position`` keeps the order of the lines.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import fields
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from measurebench.core.records import ModelKey, Question, Record, Status, counts_n
from measurebench.store.arrow_columns import Column, array_of, codes_of, distinct, ints_of, texts_of
from measurebench.store.record_set import Counts, RecordSet

__all__ = ["SCHEMA", "RecordColumns", "joined_tables", "table_of"]

_TEXT = pa.dictionary(pa.int32(), pa.string())
_NAMES = tuple(field.name for field in fields(Record))
_WHOLE = ("measure_version", "n", "peak_memory_bytes", "seed")
_FLOATS = ("value", "standard_error", "seconds")
_GROUP = ("model_id", "model_digest", "config_digest")
_LARGEST = 2**63
_FAR = 1 << 40  # lines; between the positions of two journals
_MOST_TOLD = 10_000
_BLOCK = 1 << 14  # records that are made at a time


def _kind(name: str) -> pa.DataType:
    if name == "time":
        return pa.string()
    return pa.int64() if name in _WHOLE else pa.float64() if name in _FLOATS else _TEXT


SCHEMA = pa.schema([*((name, _kind(name)) for name in _NAMES), ("exact", pa.string()), ("position", pa.int64())])
"""The fields of a record (``diagnostics`` as JSON), then ``exact``: a record as JSON that the columns cannot hold as
it is (an integer where a float is usual, or one of more than 64 bits), otherwise missing; then the position."""


def table_of(records: Sequence[Record], positions: Sequence[int]) -> pa.Table:
    """Return records, in the order of their lines, as a table. Several may have one key."""
    columns: dict[str, list[Any]] = {name: [getattr(record, name) for record in records] for name in _NAMES}
    exact: list[str | None] = [None] * len(records)
    for row, record in enumerate(records):
        if not _fits(record):
            exact[row] = json.dumps(record.to_json())
    columns["diagnostics"] = [json.dumps(value) for value in columns["diagnostics"]]
    for name in _WHOLE:
        columns[name] = [value if -_LARGEST <= value < _LARGEST else None for value in columns[name]]
    for name in _FLOATS:
        columns[name] = [value if value is None or type(value) is float else _float(value) for value in columns[name]]
    arrays = [pa.array(columns[name], pa.string() if _kind(name) == _TEXT else _kind(name)) for name in _NAMES]
    arrays = [
        array.dictionary_encode() if kind == _TEXT else array for array, kind in zip(arrays, SCHEMA.types, strict=False)
    ]
    return pa.Table.from_arrays([*arrays, pa.array(exact, pa.string()), pa.array(positions, pa.int64())], schema=SCHEMA)


def _fits(record: Record) -> bool:
    """Tell whether the columns give the record back as it is."""
    return (
        type(record.value) is not int
        and type(record.standard_error) is not int
        and type(record.seconds) is float
        and -_LARGEST <= record.seed < _LARGEST
        and -_LARGEST <= record.n < _LARGEST
        and -_LARGEST <= record.peak_memory_bytes < _LARGEST
        and -_LARGEST <= record.measure_version < _LARGEST
    )


def _float(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def joined_tables(journals: Sequence[Sequence[pa.Table]]) -> pa.Table:
    """Return the records of several journals, each in parts, one after the other: one row for each key, the last."""
    parts = [
        table if k == 0 else _with_positions(table, ints_of(table, "position") + k * _FAR)
        for k, tables in enumerate(journals)
        for table in tables
    ]
    return _latest(_unified(parts))


def _unified(parts: Sequence[pa.Table]) -> pa.Table:
    """Return tables one below the other, in which a text has one code."""
    return pa.concat_tables([SCHEMA.empty_table(), *parts]).unify_dictionaries().combine_chunks()


def _latest(table: pa.Table) -> pa.Table:
    """Return one row for each key, the last by position in the place of the first, sorted by model and position."""
    if not len(table):
        return table
    position, group, key = ints_of(table, "position"), _combined(table, _GROUP), _keys(table)
    order = np.lexsort((position, key))
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    last = order[np.append(starts[1:], len(order)) - 1]
    first = np.minimum.reduceat(position[order], starts)
    group = np.unique(group[last], return_inverse=True)[1]
    group_first = np.full(len(last), np.iinfo(np.int64).max)
    np.minimum.at(group_first, group, first)
    sort = np.lexsort((first, group_first[group]))
    return _with_positions(table.take(pa.array(last[sort])), first[sort])


def _with_positions(table: pa.Table, positions: npt.NDArray[np.int64]) -> pa.Table:
    return table.set_column(SCHEMA.get_field_index("position"), "position", pa.array(positions))


def _combined(table: pa.Table, names: Iterable[str], *more: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return codes that are equal where texts of these names and more codes are equal."""
    columns = ((codes_of(table, name), len(texts_of(table, name))) for name in names)
    others = ((codes, int(codes.max(initial=0)) + 1) for codes in more)
    found, size = np.zeros(len(table), dtype=np.int64), 1
    for codes, n in chain(columns, others):  # one at a time, since each is long
        if size * n >= _LARGEST:  # dense again, after which no product is larger than the square of the rows
            found, codes = distinct(found)[1], distinct(codes)[1]
            size = n = len(table)
        found, size = found * n + codes, size * n
    return found


def _keys(table: pa.Table) -> npt.NDArray[np.int64]:
    """Return codes of the records' keys: see ``Record.key``."""
    return _questions(table, *_GROUP)


def _questions(table: pa.Table, *names: str) -> npt.NDArray[np.int64]:
    """Return codes of what the records answer, of all models alike or of each text of more columns by itself."""
    if not len(table):
        return np.zeros(0, dtype=np.int64)
    counted = np.array([counts_n(name) for name in texts_of(table, "measure")])[codes_of(table, "measure")]
    wholes = (ints_of(table, "measure_version"), np.where(counted, ints_of(table, "n"), 0))
    return _combined(table, (*names, "measure", "split"), *(distinct(values)[1] for values in wholes))


class RecordColumns(RecordSet):
    """Records in a table that ``joined_tables`` made; a Record is made when it is asked for."""

    def __init__(self, table: pa.Table) -> None:  # no call of the base class: it holds records one by one
        # A large Parquet file comes in chunks, each with codes of its own.
        self.table = table if table.column(0).num_chunks < 2 else table.unify_dictionaries().combine_chunks()
        self._columns: dict[str, Column] = {}
        self._told: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[ModelKey]:
        return iter(self._places)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __getitem__(self, key: ModelKey) -> list[Record]:
        place = self._places.get(key)
        return [] if place is None else self._records(place)

    def in_order(self) -> Iterator[Record]:
        """Yield all records, models mixed as they were measured."""
        return self._in_order(np.arange(len(self.table)))

    def columns(self, key: ModelKey, *names: str) -> list[list[Any]]:
        """Return fields of the records of a model, one list for each name."""
        place = self._places.get(key)
        return [[] for _ in names] if place is None else [self._values(name, place) for name in names]

    def of_measures(self, names: Collection[str], telling: str = "") -> Iterator[Record]:
        """Yield the records of some measures, in their order; with ``telling``, those with such a diagnostic."""
        codes = [code for code, name in enumerate(texts_of(self.table, "measure")) if name in names]
        rows = np.flatnonzero(np.isin(codes_of(self.table, "measure"), codes))
        if telling:
            told = self._with_name(telling)
            rows = rows[[code in told for code in codes_of(self.table, "diagnostics")[rows].tolist()]]
        found = self._in_order(rows)
        return (record for record in found if not telling or telling in record.diagnostics)

    def _with_name(self, name: str) -> set[int]:
        """Return the codes of all diagnostics in whose JSON a name stands, be it a key or a text."""
        # Other letters than these may be written in several ways.
        word = f'"{name}"' if name.isascii() and name.isidentifier() else ""
        return {code for code, text in enumerate(self._diagnostic_texts) if word in text}

    def statuses(
        self, questions: Sequence[Question], counts: Counts, reads: Sequence[str] = ()
    ) -> dict[ModelKey, list[Status | None]]:
        """Return how each question is answered of each model, in the order of the questions: None where it is not.

        ``counts`` says of a measure, a status and the diagnostics named by ``reads`` whether such a record counts.
        """
        place = {question: k for k, question in enumerate(questions)}
        kinds, kind = self._kinds()
        asked = np.array([place.get(question, -1) for question in kinds], dtype=np.int64)[kind] if kinds else kind
        asked[~self._counted(counts, reads)] = -1
        status, words = codes_of(self.table, "status"), texts_of(self.table, "status")
        found: dict[ModelKey, list[Status | None]] = {}
        for key, rows in self._places.items():
            for k, code in zip(asked[rows].tolist(), status[rows].tolist(), strict=True):
                if k >= 0:
                    found.setdefault(key, [None] * len(place))[k] = words[code]
        return found

    def _counted(self, counts: Counts, reads: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Tell of each row whether it counts; rows that are alike are asked about once."""
        told, of_code = self._told_of(reads)
        told_of_row = of_code[codes_of(self.table, "diagnostics")]
        first, kind = distinct(_combined(self.table, ("measure", "status"), told_of_row))
        columns = (self._values(name, first) for name in ("measure", "status"))
        each = zip(*columns, (told[k] for k in told_of_row[first].tolist()), strict=True)
        return np.array([counts(*values) for values in each], dtype=bool)[kind]

    def _told_of(self, names: Sequence[str]) -> tuple[list[dict[str, Any]], npt.NDArray[np.int64]]:
        """Return the different diagnostics of some names, and for the code of diagnostics which of them it has."""
        of_code, told = np.zeros(len(self._diagnostic_texts), dtype=np.int64), {"{}": (0, dict[str, Any]())}
        for code in set().union(*map(self._with_name, names)):
            each = self._diagnostics(code)
            each = {name: each[name] for name in names if name in each}
            of_code[code] = told.setdefault(repr(each), (len(told), each))[0]
        return [each for _, each in told.values()], of_code

    def _kinds(self) -> tuple[list[Question], npt.NDArray[np.int64]]:
        """Return the different questions that the records answer, and of each row which one it is."""
        rows, kinds = distinct(_questions(self.table))
        names = ("measure", "measure_version", "split", "n")
        found = zip(*(self._values(name, rows) for name in names), strict=True)
        return [(m, v, s, n if counts_n(m) else None) for m, v, s, n in found], kinds

    def _in_order(self, rows: npt.NDArray[np.int64]) -> Iterator[Record]:
        order = rows[np.argsort(ints_of(self.table, "position")[rows], kind="stable")]
        for start in range(0, len(order), _BLOCK):
            yield from self._records(order[start : start + _BLOCK])

    def pairs(self) -> set[tuple[str, str]]:
        """Return every (measure, split) that a record has."""
        measures, splits = texts_of(self.table, "measure"), texts_of(self.table, "split")
        both = np.unique(codes_of(self.table, "measure") * (len(splits) + 1) + codes_of(self.table, "split"))
        return {(measures[code // (len(splits) + 1)], splits[code % (len(splits) + 1)]) for code in both.tolist()}

    def versions(self) -> dict[str, int]:
        """Return the version of each measure in its last record."""
        order = np.argsort(ints_of(self.table, "position"), kind="stable")
        codes, texts = codes_of(self.table, "measure")[order], texts_of(self.table, "measure")
        first = np.unique(codes, return_index=True)[1]
        last = {int(code): row for code, row in zip(codes.tolist(), order.tolist(), strict=True)}
        return {
            texts[code]: self._records(np.array([last[code]]))[0].measure_version
            for code in codes[np.sort(first)].tolist()
        }

    def n_answered(self, questions: Collection[Question]) -> dict[ModelKey, int]:
        """Return how many of the questions are answered of each model."""
        (kinds, kind), asked = self._kinds(), set(questions)
        answers = np.array([question in asked for question in kinds], dtype=np.int64)[kind] if kinds else kind
        starts = [place.start for place in self._places.values()]
        counts = np.add.reduceat(answers, starts).tolist() if starts else []
        return dict(zip(self._places, counts, strict=True))

    def paces(self, since: str) -> tuple[dict[tuple[str, str], tuple[int, float]], str]:
        """Return numbers of records and their seconds by measure and split, and the time of the last one."""
        texts, times = texts_of(self.table, "status"), array_of(self.table, "time")
        failed = np.array([text == "failed" for text in texts], dtype=bool)[codes_of(self.table, "status")]
        late = pc.greater_equal(times, since).to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(late & ~failed)
        splits = texts_of(self.table, "split")
        pair = (codes_of(self.table, "measure") * len(splits) + codes_of(self.table, "split"))[rows]
        seconds = np.asarray(self._values("seconds", rows), dtype=np.float64)
        measures, found = texts_of(self.table, "measure"), {}
        n, total = np.bincount(pair), np.bincount(pair, weights=seconds)
        for code in np.flatnonzero(n).tolist():
            found[measures[code // len(splits)], splits[code % len(splits)]] = (int(n[code]), float(total[code]))
        return found, max(times.take(pa.array(rows)).to_pylist(), default="") if len(rows) else ""

    def by_environment(self) -> dict[str, tuple[int, set[str]]]:
        """Return, for the digest of each environment, how many records were made in it, and of which models."""
        digests, ids = texts_of(self.table, "environment_digest"), texts_of(self.table, "model_id")
        both = codes_of(self.table, "environment_digest") * (len(ids) + 1) + codes_of(self.table, "model_id")
        found: dict[str, tuple[int, set[str]]] = {}
        for code, n in zip(*(values.tolist() for values in np.unique(both, return_counts=True)), strict=True):
            known, models = found.get(digest := digests[code // (len(ids) + 1)], (0, set()))
            models.add(ids[code % (len(ids) + 1)])
            found[digest] = known + n, models
        return found

    def n_by_status(self) -> dict[str, int]:
        """Return how many records have each status."""
        texts, codes = texts_of(self.table, "status"), codes_of(self.table, "status")
        found = dict(zip(texts, np.bincount(codes, minlength=len(texts)).tolist(), strict=True))
        return {status: found.get(status, 0) for status in ("measured", "undefined", "failed")}

    @cached_property
    def _places(self) -> dict[ModelKey, slice]:
        """The rows of each model, weights and configuration."""
        changes = [np.diff(codes_of(self.table, name), prepend=-1) != 0 for name in _GROUP]
        starts = np.flatnonzero(np.logical_or.reduce(changes))
        keys = zip(*(self._values(name, starts) for name in _GROUP), strict=True)
        ends = [*starts[1:].tolist(), len(self.table)][: len(starts)]
        return {key: slice(*both) for key, *both in zip(keys, starts.tolist(), ends, strict=True)}

    @cached_property
    def _exact(self) -> dict[int, Record]:
        """The records that the columns cannot hold, by row."""
        column = array_of(self.table, "exact")
        rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False)).tolist()
        return {row: Record(**json.loads(column[row].as_py())) for row in rows}

    def _records(self, rows: slice | npt.NDArray[np.int64]) -> list[Record]:
        columns = [self._values(name, rows) for name in _NAMES]
        return [_made(dict(zip(_NAMES, row, strict=True))) for row in zip(*columns, strict=True)]

    def _values(self, name: str, rows: slice | npt.NDArray[np.int64]) -> list[Any]:
        """Return the values of a column as a record has them."""
        if name not in self._columns:
            self._columns[name] = Column.of(self.table, name, decodes=name != "diagnostics")
        found = self._columns[name].values(rows)
        if name == "diagnostics":
            found = [self._diagnostics(code) for code in found]
        if self._exact:
            places = range(len(self.table))[rows] if isinstance(rows, slice) else rows.tolist()
            for k, row in enumerate(places):
                if row in self._exact:
                    found[k] = getattr(self._exact[row], name)
        return found

    @cached_property
    def _diagnostic_texts(self) -> list[str]:
        return texts_of(self.table, "diagnostics")

    def _diagnostics(self, code: int) -> dict[str, Any]:
        known = self._told.get(code)
        if known is None:
            known = json.loads(self._diagnostic_texts[code])
            if self._is_shared[code] and len(self._told) < _MOST_TOLD:
                self._told[code] = known
        return dict(known)

    @cached_property
    def _is_shared(self) -> list[bool]:
        """Whether several records have the diagnostics of a code: most share a few, and some have their own."""
        numbers = np.bincount(codes_of(self.table, "diagnostics"), minlength=len(self._diagnostic_texts))
        return [bool(several) for several in numbers > 1]


def _made(values: dict[str, Any]) -> Record:
    """Return a record whose values were checked when its line was read."""
    record = object.__new__(Record)
    object.__setattr__(record, "__dict__", values)
    return record
