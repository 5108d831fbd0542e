from pathlib import Path

import numpy as np
import pytest

from measurebench.core.errors import BadInputError, DamageWarning
from measurebench.core.files import TEMPORARY, write_atomically
from measurebench.core.machine_faults import LostFolderError
from measurebench.core.records import Record
from measurebench.store.examples import file_name, read_arrays, write_arrays
from measurebench.store.folder import ResultsFolder
from measurebench.store.journal import Journal
from tests.core.test_records import VALUES


def record(**changes: object) -> Record:
    return Record.from_json(VALUES | changes, "test")


def test_of_several_answers_the_last_counts(tmp_path: Path) -> None:
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        folder.add_record(record(value=1.0))
        folder.add_record(record(measure="other", value=5.0))
        folder.add_record(record(value=2.0))
    assert [(r.measure, r.value) for r in ResultsFolder.open(tmp_path / "out").records()] == [
        ("average_ce", 2.0),
        ("other", 5.0),
    ]


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "measurebench.json").write_text('{"format": 99}')
    with pytest.raises(BadInputError, match="expected results in format 1, got format 99; written by another version"):
        ResultsFolder.open(tmp_path)


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(BadInputError, match=r"holds 'thesis\.tex'"), ResultsFolder.writing(tmp_path, "0"):
        pass
    assert not (tmp_path / "measurebench.json").exists()


def test_reading_a_folder_without_results_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="expected a results folder"):
        ResultsFolder.open(tmp_path)
    with pytest.raises(BadInputError, match="no such folder"):
        ResultsFolder.open(tmp_path / "nothing")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(BadInputError, match="expected a folder that can be written to"),
        ResultsFolder.writing(tmp_path / "file", "0"),
    ):
        pass


def test_arrays_come_back_and_have_the_same_bytes_each_time(tmp_path: Path) -> None:
    arrays = {"b": np.arange(3), "a": np.array(["x", "yz"])}
    write_arrays(tmp_path / "1.npz", arrays)
    write_arrays(tmp_path / "2.npz", dict(reversed(arrays.items())))
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()
    found = read_arrays(tmp_path / "1.npz")
    assert found is not None
    assert all((found[name] == arrays[name]).all() for name in arrays)


def test_damaged_arrays_count_as_absent(tmp_path: Path) -> None:
    write_arrays(tmp_path / "1.npz", {"a": np.arange(100)})
    (tmp_path / "1.npz").write_bytes((tmp_path / "1.npz").read_bytes()[:50])
    assert read_arrays(tmp_path / "1.npz") is None


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "f"
    target.write_bytes(b"old")
    monkeypatch.setattr("os.fsync", lambda _fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", ".", "ü", "robustbench:Linf/X"])
def test_ids_never_leave_their_folder(name: str) -> None:
    assert "/" not in file_name(name)
    assert file_name(name) not in (".", "..")


def test_the_catalogue_holds_the_latest_entry_of_each_model_by_id(tmp_path: Path) -> None:
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        for model_id, run in (("b", "1"), ("a", "1"), ("b", "2")):
            folder.add_model({"model_id": model_id, "model_digest": "d", "config_digest": "c", "run": run})
    catalogue = ResultsFolder.open(tmp_path / "out").catalogue()
    assert [(name, entry["run"]) for name, entry in catalogue.items()] == [("a", "1"), ("b", "2")]


def test_records_are_grouped_by_model_weights_and_configuration(tmp_path: Path) -> None:
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        folder.add_record(record())
        folder.add_record(record(measure="path_norm"))
        folder.add_record(record(model_digest="other"))
        folder.add_record(record(config_digest="other"))
        groups = folder.records_by_model()
        assert {key: len(group) for key, group in groups.items()} == {
            ("a", "d", "c"): 2,
            ("a", "other", "c"): 1,
            ("a", "d", "other"): 1,
        }
        assert groups["nobody", "d", "c"] == []


def test_a_configuration_is_written_once(tmp_path: Path) -> None:
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        for digest in ("x", "y", "x"):
            folder.add_once(folder.configs, digest, {"seed": 0})
        assert [line["digest"] for line in folder.configs.read()] == ["x", "y"]


@pytest.mark.parametrize("content", ["", "[1]", "{}", "no JSON", '{"format": '])
def test_a_damaged_mark_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "measurebench.json").write_text(content)
    with pytest.raises(BadInputError, match=r"measurebench\.json: expected \{\"format\": \.\.\.\}, got"):
        ResultsFolder.open(tmp_path)


def test_a_record_that_lacks_a_field_is_named_with_file_and_line(tmp_path: Path) -> None:
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        Journal(tmp_path / "out" / "records.jsonl").append({"model_id": "a"})
        with pytest.raises(BadInputError, match=r"records\.jsonl, line 1: expected the field"):
            folder.records()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("value", bad) for bad in ("1.0", [1.0], {}, True)),
        *(("n", bad) for bad in (1.5, "40", None, False)),
        *((name, bad) for name in ("model_id", "measure", "config_digest", "status") for bad in (1, None, [])),
        ("seconds", "long"),
        ("diagnostics", [1]),
        ("diagnostics", {"a": {"b": 1}}),
    ],
)
def test_a_record_with_a_value_of_another_type_is_named(field: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=rf"line 3: {field}"):
        Record.from_json(VALUES | {field: value}, "line 3")


def test_a_damaged_record_is_told_set_aside_and_open_again(tmp_path: Path) -> None:
    with ResultsFolder.writing(tmp_path / "out", "0") as folder:
        for measure in ("a", "b", "c"):
            folder.add_record(record(measure=measure, value=1.0))
    path = tmp_path / "out" / "records.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"measure": "b"', b'"measure": "x"'))
    with pytest.warns(DamageWarning, match="line 2 is damaged"):
        assert [r.measure for r in ResultsFolder.open(tmp_path / "out").records()] == ["a", "c"]
    with pytest.warns(DamageWarning, match="line 2"), ResultsFolder.writing(tmp_path / "out", "0") as folder:
        folder.add_record(record(measure="b", value=1.0))
    assert [r.measure for r in ResultsFolder.open(tmp_path / "out").records()] == ["a", "c", "b"]
    assert path.with_name("records.jsonl.damaged").is_file()


@pytest.mark.parametrize("back", [False, True])
def test_a_folder_that_is_lost_while_it_is_written_to_is_not_made_again(back: bool, tmp_path: Path) -> None:
    """As when a drive is unmounted: what is written then would lie beside what was measured before."""
    out = tmp_path / "out"
    with ResultsFolder.writing(out, "0") as folder:
        folder.add_record(record())
        out.rename(tmp_path / "elsewhere")
        if back:
            out.mkdir()
        for write in (lambda: folder.add_record(record(measure="b")), lambda: folder.add_model({"model_id": "a"})):
            with pytest.raises(LostFolderError, match="out: the folder was removed, replaced or unmounted"):
                write()
        assert out.exists() == back
        assert not list(out.glob("*"))
    assert len(ResultsFolder.open(tmp_path / "elsewhere").records()) == 1


def test_what_a_kill_left_half_written_is_removed_and_does_not_block(tmp_path: Path) -> None:
    """A kill while the mark is written leaves a temporary file in a folder without a mark."""
    out = tmp_path / "out"
    out.mkdir()
    (out / f".0123456789abcdef{TEMPORARY}").write_text('{"form')
    with ResultsFolder.writing(out, "0") as folder:
        folder.add_record(record())
    assert {path.name for path in out.iterdir()} == {"lock", "log.jsonl", "measurebench.json", "records.jsonl"}
