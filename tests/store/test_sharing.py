"""A results folder that several processes write to."""

import os
from pathlib import Path

import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.info import MeasureInfo
from measurebench.core.origins import Origin
from measurebench.store.folder import ResultsFolder
from measurebench.store.joined import JoinedJournal
from measurebench.store.recorded_infos import add_infos, recorded_infos
from measurebench.store.verification import verify_results
from tests.store.test_folder import record


def test_what_several_processes_write_is_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with ResultsFolder.writing(path, "0") as alone:
        alone.add_record(record(measure="a", value=1.0))
    with ResultsFolder.sharing(path, "0") as first, ResultsFolder.sharing(path, "0") as second:
        first.add_record(record(measure="b", value=2.0))
        second.add_record(record(measure="c", value=3.0))
        second.add_once(second.configs, "d", {"seed": 0})
        first.add_once(first.configs, "d", {"seed": 0})  # it sees that the other has it
        assert len(first.configs.read()) == 1
    found = ResultsFolder.open(path)
    assert sorted((r.measure, r.value) for r in found.records()) == [("a", 1.0), ("b", 2.0), ("c", 3.0)]
    assert found.record_journals[0].path.name == "records.jsonl"
    assert len(found.record_journals) == 3
    assert not (path / "claims").exists()  # the last one cleans up


def test_a_run_that_has_the_folder_for_itself_takes_over_all_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for name in "ab":
        with ResultsFolder.sharing(path, "0") as folder:
            folder.add_record(record(measure=name))
    side = next(path.glob("records-*.jsonl"))
    before, torn = side.read_bytes(), b'{"half a li'
    side.write_bytes(before + torn)
    with ResultsFolder.writing(path, "0"):
        pass
    assert [p.name for p in path.glob("records*.jsonl")] == ["records.jsonl"]
    whole = (path / "records.jsonl").read_bytes()
    assert whole.count(b"\n") == 2
    side.write_bytes(before)  # as if a kill had come before the file was removed
    with ResultsFolder.writing(path, "0"):
        pass
    assert (path / "records.jsonl").read_bytes() == whole


def test_of_one_value_in_two_journals_that_of_the_later_process_counts(tmp_path: Path) -> None:
    for n, writer in enumerate(("20260101T000000Z-b", "20260101T000001Z-a")):
        JoinedJournal(tmp_path / "records.jsonl", writer).append({"n": n})
    (tmp_path / "records-of-mine.jsonl").write_text("no journal\n")
    joined = JoinedJournal(tmp_path / "records.jsonl")
    assert joined.read() == [{"n": 0}, {"n": 1}]


def test_runs_that_share_a_folder_and_one_that_wants_it_alone_refuse_each_other(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with (
        ResultsFolder.sharing(path, "0"),
        pytest.raises(BadInputError, match="one in use by runs with --shared; add --shared to this one"),
        ResultsFolder.writing(path, "0"),
    ):
        pass
    with (
        ResultsFolder.writing(path, "0"),
        pytest.raises(BadInputError, match=f"one in use by process {os.getpid()}; --shared is for folders"),
        ResultsFolder.sharing(path, "0"),
    ):
        pass


def test_a_live_process_of_another_machine_keeps_the_folder_shared_where_locks_do_not_reach(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with ResultsFolder.sharing(path, "0"):
        pass
    (path / "claims").mkdir()
    (path / "claims" / "20260101T000000Z-far-1-00.process").write_text('{"boot": "another"}')
    with (
        pytest.raises(BadInputError, match="one that 20260101T000000Z-far-1-00 shares"),
        ResultsFolder.writing(path, "0"),
    ):
        pass
    os.utime(path / "claims" / "20260101T000000Z-far-1-00.process", (0, 0))  # silent for long
    with ResultsFolder.writing(path, "0"):
        assert not (path / "claims").exists()


def test_infos_of_third_party_measures_are_joined_too(tmp_path: Path) -> None:
    info = MeasureInfo(
        id="mine",
        title="Mine",
        family="weights",
        unit="",
        formula="1",
        source="a test",
        hypothesis="+",
        inputs=("weights",),
        cost="0",
    )
    add_infos(tmp_path, [(info, Origin("other", "1"))], "20260101T000000Z-a")
    add_infos(tmp_path, [(info, Origin("other", "1"))], "20260101T000000Z-b")
    assert list(recorded_infos(tmp_path)) == ["mine"]
    assert len(list(tmp_path.glob("measures*"))) == 1


def test_verify_names_the_file_of_a_damaged_line_and_what_mends_it(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with ResultsFolder.sharing(path, "0") as folder:
        folder.add_record(record(measure="a"))
        own = folder.record_journals[1].path
    own.write_bytes(own.read_bytes().replace(b'"a"', b'"b"'))
    found = [str(fault) for fault in verify_results(path)]
    assert found == [
        f"{own}, line 1: damaged: its checksum does not match; the same run command measures again what is missing"
    ]
