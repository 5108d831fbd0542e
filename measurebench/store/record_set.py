"""The records of a results folder in memory: by model, in their order, and what they have in common."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

from measurebench.core.records import Answer, Diagnostic, ModelKey, Question, Record, Status

__all__ = ["Counts", "RecordSet", "joined"]

Counts = Callable[[str, str, Mapping[str, Diagnostic]], bool]
"""Whether a record of a measure, with a status and diagnostics, counts."""


class RecordSet(Mapping[ModelKey, list[Record]]):
    """Records by model, weights and configuration, of several with one key only the one that counts.

    Models and records stand in the order of their first lines. A key of which nothing is on record has no records,
    which is no error.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._by_key = {record.key: record for record in records}
        self._by_model: dict[ModelKey, list[Record]] = {}
        for record in self._by_key.values():
            self._by_model.setdefault(record.model_key, []).append(record)

    def __len__(self) -> int:
        return len(self._by_model)

    def __iter__(self) -> Iterator[ModelKey]:
        return iter(self._by_model)

    def __contains__(self, key: object) -> bool:
        return key in self._by_model

    def __getitem__(self, key: ModelKey) -> list[Record]:
        return list(self._by_model.get(key, ()))

    def in_order(self) -> Iterator[Record]:
        """Yield all records, models mixed as they were measured."""
        return iter(self._by_key.values())

    def columns(self, key: ModelKey, *names: str) -> list[list[Any]]:
        """Return fields of the records of a model, one list for each name, without making the records."""
        found = self._by_model.get(key, ())
        return [list(map(attrgetter(name), found)) for name in names]

    def answers(self, key: ModelKey) -> list[Answer]:
        """Return what a plan asks of the records of a model."""
        return list(map(Answer._make, zip(*self.columns(key, *Answer._fields), strict=True)))

    def of_measures(self, names: Collection[str], telling: str = "") -> Iterator[Record]:
        """Yield the records of some measures, in their order; with ``telling``, those with such a diagnostic."""
        found = (record for record in self.in_order() if record.measure in names)
        return (record for record in found if not telling or telling in record.diagnostics)

    def statuses(
        self, questions: Sequence[Question], counts: Counts, reads: Sequence[str] = ()
    ) -> dict[ModelKey, list[Status | None]]:
        """Return how each question is answered of each model, in the order of the questions: None where it is not.

        ``counts`` says of a measure, a status and diagnostics whether such a record counts as an answer; it gets those
        diagnostics whose names are in ``reads``.
        """
        place = {question: k for k, question in enumerate(questions)}
        found: dict[ModelKey, list[Status | None]] = {}
        for record in self.in_order():
            k = place.get(record.question)
            told = {name: record.diagnostics[name] for name in reads if name in record.diagnostics}
            if k is not None and counts(record.measure, record.status, told):
                found.setdefault(record.model_key, [None] * len(place))[k] = record.status
        return found

    def pairs(self) -> set[tuple[str, str]]:
        """Return every (measure, split) that a record has."""
        return {(record.measure, record.split) for record in self.in_order()}

    def versions(self) -> dict[str, int]:
        """Return the version of each measure in its last record."""
        return {record.measure: record.measure_version for record in self.in_order()}

    def n_answered(self, questions: Collection[Question]) -> dict[ModelKey, int]:
        """Return how many of the questions are answered of each model; models without an answer may be missing."""
        asked, found = set(questions), Counter[ModelKey]()
        for record in self.in_order():
            found[record.model_key] += record.question in asked
        return dict(found)

    def paces(self, since: str) -> tuple[dict[tuple[str, str], tuple[int, float]], str]:
        """Return how many records there are of each measure and split and their seconds, and the time of the last one.

        Only records from a time on count. Failures say nothing of how long a measure takes.
        """
        found: dict[tuple[str, str], tuple[int, float]] = {}
        last = ""
        for record in self.in_order():
            if record.status != "failed" and record.time >= since:
                n, seconds = found.get(pair := (record.measure, record.split), (0, 0.0))
                found[pair] = n + 1, seconds + record.seconds
                last = max(last, record.time)
        return found, last

    def by_environment(self) -> dict[str, tuple[int, set[str]]]:
        """Return, for the digest of each environment, how many records were made in it, and of which models."""
        found: dict[str, tuple[int, set[str]]] = {}
        for record in self.in_order():
            n, models = found.get(record.environment_digest, (0, set()))
            found[record.environment_digest] = n + 1, models | {record.model_id}
        return found

    def n_by_status(self) -> dict[str, int]:
        """Return how many records have each status."""
        found = Counter(record.status for record in self.in_order())
        return {status: found[status] for status in ("measured", "undefined", "failed")}


def joined(journals: Iterable[Iterable[Record]]) -> RecordSet:
    """Return the records of several journals, one after the other: of those with one key the last.

    >>> len(joined([]))
    0
    """
    return RecordSet(chain.from_iterable(journals))
