import math

import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.records import Record

VALUES = {
    "model_id": "a",
    "model_digest": "d",
    "measure": "average_ce",
    "measure_version": 1,
    "split": "train",
    "config_digest": "c",
    "status": "measured",
    "value": 1.5,
    "standard_error": 0.1,
    "n": 10,
    "seconds": 0.1,
    "peak_memory_bytes": 1,
    "seed": 0,
    "environment_digest": "e",
    "time": "2026-01-01T00:00:00+00:00",
}


def test_a_record_survives_json() -> None:
    record = Record.from_json(VALUES, "here")
    assert Record.from_json(record.to_json(), "here") == record


@pytest.mark.parametrize(
    ("status", "value"), [("measured", None), ("measured", math.nan), ("failed", 1.0), ("undefined", 0.0)]
)
def test_a_value_if_and_only_if_measured(status: str, value: float | None) -> None:
    with pytest.raises(BadInputError, match="if and only if"):
        Record.from_json(VALUES | {"status": status, "value": value, "reason": "why"}, "here")


def test_a_failure_needs_a_reason() -> None:
    with pytest.raises(BadInputError, match="a reason with failed"):
        Record.from_json(VALUES | {"status": "failed", "value": None}, "here")


def test_missing_and_unknown_fields_are_named_with_the_place() -> None:
    with pytest.raises(BadInputError, match="line 3: expected the field 'seed'"):
        Record.from_json({k: v for k, v in VALUES.items() if k != "seed"}, "line 3")
    with pytest.raises(BadInputError, match="'colour' besides; written by a later version"):
        Record.from_json(VALUES | {"colour": "red"}, "line 3")
