"""A snapshot changes how fast a folder is read, never what is read: missing, stale, damaged or in use."""

import json
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from measurebench.core.errors import BadInputError, DamageWarning
from measurebench.core.records import Record
from measurebench.store import record_reader
from measurebench.store.checked_lines import LineReader, checked_line
from measurebench.store.cover import BlockDigests, snapshot_path
from measurebench.store.folder import ResultsFolder, read_records
from measurebench.store.joining import join_results
from measurebench.store.status import read_status
from measurebench.store.tables import read_provenance
from measurebench.store.verification import verify_results
from tests.store.test_folder import record
from tests.store.test_record_columns import drawn
from tests.store.test_tables import ENTRY


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a snapshot of the shortest folder."""
    monkeypatch.setattr(record_reader, "SNAPSHOT_BYTES", 1)


@pytest.fixture
def lines_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Collect the lines of records that are read one by one."""
    read, found = LineReader.read, list[bytes]()

    def noted(self: LineReader, line: bytes, number: int) -> Any:
        found.extend([line] if b'"measure_version"' in line else [])
        return read(self, line, number)

    monkeypatch.setattr(LineReader, "read", noted)
    return found


def storable(draw: random.Random) -> Record:
    """Return a drawn record that JSON can hold."""
    found = drawn(draw)
    return found if found.standard_error == found.standard_error else replace(found, standard_error=None)


def filled(path: Path, n: int = 60, seed: int = 0) -> Path:
    """Write a folder of three models, with records that supersede others, before any snapshot is made."""
    draw = random.Random(seed)
    with ResultsFolder.writing(path, "0") as folder:
        for model in "abc":
            digests = {"model_digest": "x", "config_digest": "c"}
            folder.add_model(ENTRY | {"model_id": model, "settings": {"steps": 1}} | digests)
        for _ in range(n):
            folder.add_record(storable(draw))
    shutil.rmtree(path / "snapshot", ignore_errors=True)
    return path


def snapshot_faults(path: Path) -> list[str]:
    """Return what ``verify`` says of the snapshots of a folder."""
    return [fault.what for fault in verify_results(path) if Path(fault.place).parent.name == "snapshot"]


def everything(path: Path) -> dict[str, str]:
    """Return all that commands read of a folder, as text, and the warnings."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        table = join_results(path)
        found = {
            "records": repr(read_records(path)),
            "status": repr(read_status(path)),
            "table": table.to_csv() + repr(table.dtypes.to_dict()) + repr(list(table.columns)),
            "provenance": repr(read_provenance(path)),
        }
    return found | {"warnings": repr([str(warning.message) for warning in told])}


def test_every_reader_gets_the_same_with_a_snapshot_as_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines_read: list[bytes]
) -> None:
    path = filled(tmp_path / "out")
    without = everything(path)
    assert not (path / "snapshot").exists()
    monkeypatch.setattr(record_reader, "SNAPSHOT_BYTES", 1)
    read_records(path)
    assert (path / "snapshot" / "records.parquet").is_file()
    lines_read.clear()
    assert everything(path) == without
    assert lines_read == []
    assert snapshot_faults(path) == []


def test_lines_after_the_snapshot_are_read_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines_read: list[bytes]
) -> None:
    path = filled(tmp_path / "out")
    monkeypatch.setattr(record_reader, "SNAPSHOT_BYTES", 1)
    read_records(path)
    monkeypatch.setattr(record_reader, "SNAPSHOT_BYTES", 1 << 30)  # no new one, but the old one
    draw = random.Random(1)
    with (path / "records.jsonl").open("ab") as journal:
        journal.writelines(checked_line(storable(draw).to_json()) + b"\n" for _ in range(20))
    without = everything(path)
    monkeypatch.setattr(record_reader, "SNAPSHOT_BYTES", 1)
    monkeypatch.setattr(record_reader.RecordReader, "_write_snapshot", lambda _self: None)
    lines_read.clear()
    assert read_records(path)
    assert len(lines_read) == 20
    assert everything(path) == without


def test_a_change_of_any_byte_of_the_journal_is_seen_in_spite_of_the_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, always: None
) -> None:
    path = filled(tmp_path / "out", n=6)
    read_records(path)
    journal, snapshot = path / "records.jsonl", snapshot_path(path / "records.jsonl")
    content, kept = journal.read_bytes(), [(p, p.read_bytes()) for p in (snapshot, snapshot.with_suffix(".json"))]
    for place in range(0, len(content), 61):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 7
        journal.write_bytes(changed)
        found = outcome(read_records, path)
        for file, old in kept:
            file.write_bytes(old)
        with monkeypatch.context() as context:
            context.setattr(record_reader, "SNAPSHOT_BYTES", 1 << 30)
            assert found == outcome(read_records, path)


def outcome(call: Callable[[Path], Any], path: Path) -> str:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            found = repr(call(path))
        except BadInputError as error:
            found = str(error)
    return found + repr([str(warning.message) for warning in told])


def test_a_snapshot_with_a_changed_byte_is_not_used_and_made_again(
    tmp_path: Path, lines_read: list[bytes], always: None
) -> None:
    path = filled(tmp_path / "out", n=6)
    right = repr(read_records(path))
    for file in (snapshot := snapshot_path(path / "records.jsonl"), snapshot.with_suffix(".json")):
        content = file.read_bytes()
        for place in range(0, len(content), max(1, len(content) // 40)):
            file.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
            assert repr(read_records(path)) == right
        file.write_bytes(content[: len(content) // 2])
        (what,) = snapshot_faults(path)
        assert what == "the snapshot is damaged or of another state of the journal, and not used"
        assert repr(read_records(path)) == right
        assert snapshot_faults(path) == []
        lines_read.clear()
        assert repr(read_records(path)) == right
        assert lines_read == []


def test_verify_finds_a_snapshot_that_holds_other_values(tmp_path: Path, always: None) -> None:
    path = tmp_path / "out"
    for value in (1.0, 2.0):
        with ResultsFolder.writing(path, "0") as folder:
            folder.add_record(record(value=value))
        read_records(path)
    from measurebench.store.record_columns import table_of
    from measurebench.store.snapshot import read_snapshot, write_snapshot

    found = read_snapshot(path / "records.jsonl")
    assert found is not None
    write_snapshot(path / "records.jsonl", table_of([record(value=1.0)], [1]), found[1])
    assert snapshot_faults(path) == ["the snapshot holds other values than the journal"]


def test_damaged_lines_are_told_from_the_snapshot_and_set_aside_by_the_next_run(tmp_path: Path, always: None) -> None:
    path = filled(tmp_path / "out", n=6)
    lines = (path / "records.jsonl").read_bytes().split(b"\n")
    (path / "records.jsonl").write_bytes(b"\n".join([lines[0], lines[1].replace(b"2026", b"2027"), *lines[2:]]))
    for _ in range(2):
        with pytest.warns(DamageWarning, match="line 2 is damaged and not used: its checksum does not match"):
            read_records(path)
    with pytest.warns(DamageWarning, match="line 2"), ResultsFolder.writing(path, "0") as folder:
        assert len(list(folder.records_by_model().in_order())) == len(read_records(path))
    assert (path / "records.jsonl.damaged").read_bytes().count(b"\n") == 1
    assert snapshot_faults(path) == []


def test_without_leave_to_write_a_folder_is_read_all_the_same(
    tmp_path: Path, always: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled(tmp_path / "out", n=6)

    def refused(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("measurebench.store.snapshot.write_atomically", refused)
    assert len(read_records(path)) > 1
    assert not list((path / "snapshot").glob("*"))


def test_a_link_in_place_of_the_snapshots_is_not_followed(tmp_path: Path, always: None) -> None:
    path, precious = filled(tmp_path / "out", n=6), tmp_path / "precious"
    precious.mkdir()
    (precious / "records.json").write_text("mine")
    (path / "snapshot").symlink_to(precious)
    assert read_records(path)
    assert [(child.name, child.read_text()) for child in precious.iterdir()] == [("records.json", "mine")]


def test_a_description_of_any_kind_is_no_error(tmp_path: Path, always: None) -> None:
    path = filled(tmp_path / "out", n=6)
    right, file = repr(read_records(path)), snapshot_path(path / "records.jsonl").with_suffix(".json")
    told = json.loads(file.read_text())
    others: list[Any] = [[], None, "x", {}, {"format": 99}, told | {"place": 3}, told | {"damages": [[1]]}]
    others += [told | {"place": told["place"] | {key: value}} for key in told["place"] for value in ("x", None, -1)]
    for other in others:
        file.write_text(json.dumps(other))
        assert repr(read_records(path)) == right


def test_a_bad_record_is_named_with_its_line_every_time(tmp_path: Path, always: None) -> None:
    path = filled(tmp_path / "out", n=3)
    with (path / "records.jsonl").open("ab") as journal:
        journal.write(checked_line({"n": 1}) + b"\n")
    folder = ResultsFolder.open(path)
    for _ in range(2):
        with pytest.raises(BadInputError, match="line 4: expected the field"):
            folder.records()


def test_records_of_several_journals_are_read_as_one(tmp_path: Path, always: None) -> None:
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        folder.add_model(ENTRY)
        folder.add_record(record(value=1.0))
    for name, value in (("one", 2.0), ("two", 3.0)):
        with ResultsFolder.writing(tmp_path / name, "0") as folder:
            folder.add_record(record(value=value))
            folder.add_record(record(measure=name))
        (tmp_path / name / "records.jsonl").rename(tmp_path / "out" / f"records-20260101T000000Z-{name}.jsonl")
    for _ in range(2):
        found = read_records(tmp_path / "out")
        assert [(r.measure, r.value) for r in found] == [("average_ce", 3.0), ("one", 1.5), ("two", 1.5)]
    snapshots = tmp_path / "out" / "snapshot"
    assert len(list(snapshots.glob("*.parquet"))) == 3
    assert snapshot_faults(tmp_path / "out") == []
    (tmp_path / "out" / "records-20260101T000000Z-one.jsonl").unlink()
    with ResultsFolder.writing(tmp_path / "out", "0"):  # a journal that is folded leaves no snapshot either
        assert sorted(file.stem for file in snapshots.glob("*.parquet")) == ["records"]


def test_what_was_read_is_not_read_again(tmp_path: Path, lines_read: list[bytes]) -> None:
    path = filled(tmp_path / "out", n=10)
    with ResultsFolder.writing(path, "0") as folder:
        lines_read.clear()
        folder.records_by_model()
        assert lines_read == []  # all were read when the folder was opened for writing
        folder.add_record(record(measure="new"))
        assert "new" in {found.measure for found in folder.records()}
        assert len(lines_read) == 1


def test_a_run_brings_the_snapshot_up_to_date(tmp_path: Path, always: None, lines_read: list[bytes]) -> None:
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        for number in range(30):
            folder.add_record(record(measure=f"m{number}"))
    lines_read.clear()
    assert len(read_records(tmp_path / "out")) == 30
    assert len(lines_read) <= 4  # a tenth of the lines, and one


def test_digests_of_blocks_do_not_depend_on_the_parts_they_came_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("measurebench.store.cover.BLOCK", 10)
    whole, parts = BlockDigests(), BlockDigests()
    whole.update(bytes(range(37)))
    for start in range(0, 37, 3):
        parts.update(bytes(range(37))[start : start + 3])
    assert whole.digests() == parts.digests()
    assert len(whole.digests()) == 4
