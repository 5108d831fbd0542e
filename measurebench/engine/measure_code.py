"""The code of third-party measures in records: kept with every value, and compared before a value is reused."""

from collections.abc import Iterable

from measurebench.core.records import Diagnostic, Record
from measurebench.measures.registry import Measure, origin_of_measure

__all__ = ["of_this_code", "origin_entry"]

_KEYS = ("origin", "origin_sha256")


def origin_entry(measure: Measure) -> dict[str, Diagnostic]:
    """Return the diagnostics that name the code of a third-party measure; none for a built-in one.

    ``origin`` is the package with its version, or the file; ``origin_sha256`` the digest of the file that defines it.
    """
    origin = origin_of_measure(measure)
    return {} if origin.is_built_in else dict(zip(_KEYS, (str(origin), origin.sha256), strict=True))


def of_this_code(records: Iterable[Record], measures: Iterable[Measure]) -> list[Record]:
    """Return the records without those of third-party measures that another version of their code made."""
    now = {item.info.id: origin_entry(item) for item in measures}
    return [record for record in records if record.measure not in now or _origin(record) == now[record.measure]]


def _origin(record: Record) -> dict[str, Diagnostic]:
    return {key: value for key, value in record.diagnostics.items() if key in _KEYS}
