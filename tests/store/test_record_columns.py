"""Records as columns are the same records: field by field, type by type, in the same order."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from measurebench.core.records import Record
from measurebench.store.arrow_columns import distinct
from measurebench.store.record_columns import RecordColumns, joined_tables, table_of
from measurebench.store.record_set import RecordSet, joined
from tests.store.test_folder import record

QUESTIONS = [
    ("m1", 1, "train", None),
    ("m1", 2, "test", None),
    ("pgd_accuracy", 1, "test", 5),
    ("m3", 1, "test", None),
]


def drawn(draw: random.Random) -> Record:
    """Return a record of few models and measures, so that many share a key; some hold what columns cannot."""
    status = draw.choice(["measured", "measured", "failed", "undefined"])
    return record(
        model_id=draw.choice("abc"),
        model_digest=draw.choice("xy"),
        measure=draw.choice(["m1", "m2", "pgd_accuracy", "load"]),
        measure_version=draw.choice([1, 2]),
        split=draw.choice(["train", "test"]),
        n=draw.choice([5, 10]),
        seed=draw.choice([0, 1, 2**70]),
        status=status,
        value=draw.choice([1.5, 2, -0.0, 5e-324, 10**30]) if status == "measured" else None,
        standard_error=draw.choice([None, 0.1, 3, float("nan")]),
        seconds=draw.choice([0.5, 1]),
        reason="" if status == "measured" else draw.choice(["why", "é\n"]),
        diagnostics=draw.choice([{}, {"a": 1}, {"a": 1.0}, {"a": True, "flags": "x"}, {"a": None}, {"a": 0.1 + 0.2}]),
        time=f"2026-01-0{draw.choice('123')}",
    )


def counts(measure: str, status: str, told: Mapping[str, Any]) -> bool:
    """Tell apart what must not be taken for the same: 1, 1.0, True, None and nothing."""
    return (measure, status, repr(told)) not in {
        ("m1", "measured", "{'a': 1.0}"),
        ("m1", "failed", "{}"),
        ("pgd_accuracy", "measured", "{'a': True, 'flags': 'x'}"),
    }


def as_text(records: RecordSet) -> dict[str, str]:
    """Return all that can be asked of records as text, which tells 1 from 1.0 and from True."""
    keys = [*records, ("nobody", "x", "c")]
    names = ("measure", "value", "standard_error", "seed", "diagnostics", "time")
    return {
        "models": repr(list(records)),
        "order": repr(list(records.in_order())),
        "by model": repr([records[key] for key in keys]),
        "columns": repr([records.columns(key, *names) for key in keys]),
        "answers": repr([records.answers(key) for key in keys]),
        "loads": repr(list(records.of_measures({"load", "m1"}))),
        "flagged": repr(list(records.of_measures({"load", "m1"}, "flags"))),
        "statuses": repr(sorted(records.statuses(QUESTIONS, counts, ("a", "flags")).items())),
        "pairs": repr(sorted(records.pairs())),
        "versions": repr(records.versions()),
        "answered": repr(sorted(item for item in records.n_answered(QUESTIONS).items() if item[1])),
        "paces": repr(sorted(records.paces("2026-01-02")[0])) + records.paces("2026-01-02")[1],
        "counts": repr(records.n_by_status()),
        "environments": repr(sorted((k, n, sorted(ids)) for k, (n, ids) in records.by_environment().items())),
        "known": repr([key in records for key in keys]),
    }


@pytest.mark.parametrize("seed", range(25))
def test_columns_give_back_the_records_they_were_made_of(seed: int) -> None:
    draw = random.Random(seed)
    journals = [[drawn(draw) for _ in range(draw.choice([0, 1, 3, 40]))] for _ in range(draw.choice([1, 1, 2, 3]))]
    cuts = [draw.randrange(len(records) + 1) for records in journals]
    parts = [
        [table_of(records[:cut], range(cut)), table_of(records[cut:], range(cut, len(records)))]
        for records, cut in zip(journals, cuts, strict=True)
    ]
    assert as_text(RecordColumns(joined_tables(parts))) == as_text(joined(journals))


def test_the_last_line_of_the_last_journal_counts_whatever_the_clocks_said() -> None:
    early, late = "2026-01-01T00:00:00", "2026-01-02T00:00:00"
    mine = [record(value=1.0, time=late), record(value=2.0, time=early)]
    theirs = [record(value=3.0, time=late)]
    for journals, value in (([mine], 2.0), ([mine, theirs], 3.0), ([theirs, mine], 2.0)):
        assert [found.value for found in joined(journals).in_order()] == [value]
        tables = joined_tables([[table_of(records, range(len(records)))] for records in journals])
        assert [found.value for found in RecordColumns(tables).in_order()] == [value]


def test_answers_and_paces_are_counted() -> None:
    accuracy = {"measure": "pgd_accuracy", "split": "test"}
    records = [
        record(seconds=3.0, time="2026-01-01"),
        record(measure="m1", seconds=1.0, time="2026-01-02"),
        record(measure="m1", seconds=2.0, time="2026-01-03", model_id="b"),
        record(measure="m1", split="test", status="failed", value=None, reason="why", seconds=9.0, time="2026-01-04"),
        record(**accuracy, n=5, seconds=0.25, time="2026-01-02"),
        record(**accuracy, n=6, seconds=0.5, time="2026-01-02"),
    ]
    for found in (joined([records]), RecordColumns(joined_tables([[table_of(records, range(6))]]))):
        assert found.n_answered(QUESTIONS) == {("a", "d", "c"): 2, ("b", "d", "c"): 1}
        paces = {("m1", "train"): (2, 3.0), ("pgd_accuracy", "test"): (2, 0.75)}
        assert found.paces("2026-01-02") == (paces, "2026-01-03")


def test_a_model_without_records_has_none_and_is_not_among_them() -> None:
    for records in (joined([[record()]]), RecordColumns(joined_tables([[table_of([record()], [1])]]))):
        assert records[("nobody", "d", "c")] == []
        assert ("nobody", "d", "c") not in records
        assert (len(records), list(records)) == (1, [("a", "d", "c")])


def test_the_statuses_of_a_model_stand_in_the_order_of_the_questions() -> None:
    records = [
        record(measure="m1", status="failed", value=None, reason="why", diagnostics={"origin": "mine 0.1"}),
        record(measure="pgd_accuracy", split="test", n=5, diagnostics={"batch_size": 8}),
        record(measure="pgd_accuracy", split="test", n=6),
        record(measure="m1", model_id="b", diagnostics={"origin": "mine 0.2", "batch_size": 8}),
        record(measure="m2", model_id="c"),
    ]

    def of_ours(measure: str, _status: str, told: Mapping[str, Any]) -> bool:
        assert "batch_size" not in told
        return measure != "m1" or told == {"origin": "mine 0.1"}

    for found in (joined([records]), RecordColumns(joined_tables([[table_of(records, range(5))]]))):
        assert found.statuses(QUESTIONS, of_ours, ["origin"]) == {("a", "d", "c"): ["failed", None, "measured", None]}
        assert found.statuses([], of_ours) == {}


@pytest.mark.parametrize("largest", [1, 50, 2**62])
def test_distinct_codes_are_those_that_sorting_finds(largest: int) -> None:
    draw = np.random.default_rng(0)
    for codes in (draw.integers(0, largest, 200), draw.integers(-largest, largest, 200), np.zeros(0, dtype=np.int64)):
        _, first, place = np.unique(codes, return_index=True, return_inverse=True)
        found = distinct(codes)
        assert found[0].tolist() == first.tolist()
        assert found[1].tolist() == place.tolist()
