"""A record: one measured value with its circumstances. Records are never edited, only superseded."""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, NamedTuple, get_args

from measurebench.core.errors import BadInputError

__all__ = ["Answer", "Diagnostic", "ModelKey", "Question", "Record", "Status", "counts_n"]

Status = Literal["measured", "undefined", "failed"]
Diagnostic = float | int | bool | str | None
ModelKey = tuple[str, str, str]
Question = tuple[str, int, str, int | None]  # measure, version, split and, of accuracies, the number of examples


def counts_n(measure: str) -> bool:
    """Say whether records of a measure over different numbers of examples answer different questions.

    Those of accuracies do: some attacks are slow, and how many examples they take is asked for. Other measures read
    the examples of the configuration, all of them or as many as their definition takes.
    """
    return measure.endswith("_accuracy")


@dataclass(frozen=True)
class Record:
    """One measure of one model on one split, or the reason why there is no value.

    ``value`` is a finite float if and only if ``status`` is measured. ``n`` counts examples (0 for measures of
    weights alone), ``seconds`` excludes shared work, ``peak_memory_bytes`` is the process's (or device's) peak.
    """

    model_id: str
    model_digest: str
    measure: str
    measure_version: int
    split: str
    config_digest: str
    status: Status
    value: float | None
    standard_error: float | None
    n: int
    seconds: float
    peak_memory_bytes: int
    seed: int
    environment_digest: str
    time: str
    reason: str = ""
    diagnostics: Mapping[str, Diagnostic] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status not in get_args(Status):
            raise BadInputError("record: status", " or ".join(get_args(Status)), repr(self.status))
        has_value = self.value is not None and _is_finite(self.value)
        if has_value != (self.status == "measured"):
            raise BadInputError(
                f"record of {self.measure} of {self.model_id}",
                "a finite value if and only if its status is measured",
                f"status {self.status} with value {self.value}",
            )
        if self.status != "measured" and not self.reason:
            raise BadInputError(f"record of {self.measure} of {self.model_id}", f"a reason with {self.status}")

    @property
    def key(self) -> tuple[str, str, str, int, str, str, int]:
        """What makes two records answers to the same question; the later one counts."""
        return (
            self.model_id,
            self.model_digest,
            self.measure,
            self.measure_version,
            self.split,
            self.config_digest,
            self.n if counts_n(self.measure) else 0,
        )

    @property
    def question(self) -> Question:
        """What a plan asks of every model, and this record answers of one."""
        return self.measure, self.measure_version, self.split, self.n if counts_n(self.measure) else None

    @property
    def model_key(self) -> ModelKey:
        """Model, weights and configuration: what the records of one row of a table share."""
        return self.model_id, self.model_digest, self.config_digest

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str) -> "Record":
        """Return the record that JSON values hold; the checksum of its line is left out.

        Raises BadInputError, which names ``where``, for an unknown or a missing field and for a value of another type.
        """
        if not isinstance(value, Mapping):
            raise BadInputError(where, "an object with a record's fields", type(value).__name__)
        if "checksum" in value:
            value = {name: item for name, item in value.items() if name != "checksum"}
        _check_fields(value, where)
        return cls(**value)


class Answer(NamedTuple):
    """What a plan asks of a record: which question it answers. Made for a million records, where a Record is slow."""

    model_id: str
    config_digest: str
    measure: str
    measure_version: int
    split: str
    status: Status
    n: int
    diagnostics: Mapping[str, Diagnostic]

    @property
    def question(self) -> Question:
        """What was asked."""
        return self.measure, self.measure_version, self.split, self.n if counts_n(self.measure) else None


def _check_fields(value: Mapping[str, Any], where: str) -> None:
    """Raise BadInputError for an unknown or a missing field and for a value of another type."""
    # Millions of records have the same few combinations of fields and types, which need to be looked at once.
    kinds = (*value, *map(type, value.values()))
    if kinds not in _KNOWN_KINDS:
        _check_kinds(value, where)
        if len(_KNOWN_KINDS) < _MOST_KINDS:
            _KNOWN_KINDS.add(kinds)
    for name, item in value.items():
        if isinstance(item, str) and not item.isascii() and any("\ud800" <= letter <= "\udfff" for letter in item):
            raise BadInputError(f"{where}: {name}", "text in UTF-8", ascii(item)[:80])
    _check_diagnostics(value.get("diagnostics", {}), where)


def _check_kinds(value: Mapping[str, Any], where: str) -> None:
    if missing := sorted(_REQUIRED - value.keys()):
        raise BadInputError(where, f"the field {missing[0]!r}", "a record without it")
    if unknown := sorted(value.keys() - _KINDS.keys()):
        raise BadInputError(where, "a record's fields", f"{unknown[0]!r} besides", "written by a later version?")
    for name, item in value.items():
        if not isinstance(item, _KINDS[name]) or item is True or item is False:
            raise BadInputError(f"{where}: {name}", _expected(name), repr(item)[:80])


_MOST_KINDS = 1000  # of combinations that are kept; a file of other things may have endless ones
_KNOWN_KINDS: set[tuple[Any, ...]] = set()
# The types of each field; truth values, which Python counts among the numbers, are none of them.
_KINDS: dict[str, Any] = (
    dict.fromkeys((field.name for field in fields(Record)), str)
    | dict.fromkeys(("measure_version", "n", "peak_memory_bytes", "seed"), int)
    | dict.fromkeys(("value", "standard_error"), (int, float, type(None)))
    | {"seconds": (int, float), "diagnostics": Mapping}
)
_REQUIRED = _KINDS.keys() - {"reason", "diagnostics"}
_PLAIN = (str, int, float, type(None))
_WORDS = {str: "text", int: "a whole number", (int, float): "a number", Mapping: "an object"}


def _expected(name: str) -> str:
    return _WORDS.get(_KINDS[name], "a number or null")


def _check_diagnostics(diagnostics: Mapping[str, Any], where: str) -> None:
    """Refuse nested values: diagnostics become cells of tables."""
    for name, item in diagnostics.items():
        if not isinstance(item, _PLAIN):
            raise BadInputError(f"{where}: diagnostics: {name}", "a number, text, truth value or null", repr(item)[:80])


def _is_finite(value: float) -> bool:
    """Tell finite numbers; an integer beyond the range of floats, which JSON may hold, is none."""
    return -sys.float_info.max <= value <= sys.float_info.max
