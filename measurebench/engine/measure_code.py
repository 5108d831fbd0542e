"""The code of third-party measures in records: kept with every value, and compared before a value is reused."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from measurebench.core.records import Answer, Diagnostic, Record
from measurebench.measures.registry import Measure, origin_of_measure

__all__ = ["R", "made_by", "origin_entry", "origins_of"]

R = TypeVar("R", Record, Answer)

_KEYS = ("origin", "origin_sha256")


def origin_entry(measure: Measure) -> dict[str, Diagnostic]:
    """Return the diagnostics that name the code of a third-party measure; none for a built-in one.

    ``origin`` is the package with its version, or the file; ``origin_sha256`` the digest of the file that defines it.
    """
    origin = origin_of_measure(measure)
    return {} if origin.is_built_in else dict(zip(_KEYS, (str(origin), origin.sha256), strict=True))


def origins_of(measures: Iterable[Measure]) -> dict[str, dict[str, Diagnostic]]:
    """Return the diagnostics that name the code of each measure, by id."""
    return {item.info.id: origin_entry(item) for item in measures}


def made_by(records: Iterable[R], origins: Mapping[str, Mapping[str, Diagnostic]]) -> list[R]:
    """Return the records without those that other code made than ``origins`` says of their measure."""
    return [record for record in records if record.measure not in origins or _origin(record) == origins[record.measure]]


def _origin(record: Record | Answer) -> dict[str, Diagnostic]:
    return {key: record.diagnostics[key] for key in _KEYS if key in record.diagnostics}
