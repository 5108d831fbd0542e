"""Which machines measured what, counted from records and environments."""

from measurebench.store.machines import Machine, machines
from measurebench.store.record_set import RecordSet
from tests.store.test_folder import record

ENVIRONMENTS = [
    {"digest": "a", "host": "node-1", "device": "NVIDIA H100", "cpu": "a processor"},
    {"digest": "b", "host": "node-1", "device": "NVIDIA H100", "cpu": "a processor", "python": "3.12"},
    {"digest": "c", "host": "node-2", "device": "cpu", "cpu": "a processor"},
]


def test_records_are_counted_by_host_and_hardware() -> None:
    made = [("m1", "x", "a"), ("m2", "x", "b"), ("m2", "y", "a"), ("m3", "x", "c")]
    rows = (record(model_id=name, measure=m, environment_digest=digest) for name, m, digest in made)
    found = machines(RecordSet(rows), ENVIRONMENTS)
    assert found == [Machine("node-1", "NVIDIA H100", 3, 2), Machine("node-2", "a processor", 1, 1)]


def test_records_of_unknown_or_nameless_environments_count_under_an_empty_host() -> None:
    made = [record(measure=name, environment_digest=name) for name in ("lost", "old")]
    found = machines(RecordSet(made), [{"digest": "old", "device": "cpu", "cpu": "a processor"}])
    assert found == [Machine("", "", 1, 1), Machine("", "a processor", 1, 1)]


def test_no_records_no_machines() -> None:
    assert machines(RecordSet([]), ENVIRONMENTS) == []
