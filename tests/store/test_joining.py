"""Joining results folders: every model once, columns in the order of the folders, values untouched."""

import json
from pathlib import Path

import pandas as pd
import pytest

import measurebench
from measurebench.cli.app import run_command_line
from measurebench.core.errors import BadInputError
from measurebench.reporting.subject.study import load_study
from measurebench.store.folder import ResultsFolder
from measurebench.store.joining import export_table, join_results, provenance_of_sources, read_sources
from measurebench.store.tables import read_provenance, read_table
from tests.store.test_folder import record
from tests.store.test_tables import ENTRY


def results(path: Path, **values: dict[str, float]) -> Path:
    """Write a folder with these models and measures."""
    with ResultsFolder.writing(path, "0") as folder:
        for model_id, measured in values.items():
            folder.add_model(ENTRY | {"model_id": model_id})
            for measure, value in measured.items():
                folder.add_record(record(model_id=model_id, measure=measure, value=value))
    return path


def test_one_folder_is_its_own_table(tmp_path: Path) -> None:
    folder = results(tmp_path / "1", a={"average_ce": 1.0})
    pd.testing.assert_frame_equal(join_results(folder), read_table(folder))
    pd.testing.assert_frame_equal(join_results([str(folder)]), read_table(folder))


def test_models_of_all_folders_are_rows_and_absent_values_are_empty(tmp_path: Path) -> None:
    first = results(tmp_path / "1", a={"average_ce": 1.0}, b={"average_ce": 2.0, "path_norm": 5.0})
    second = results(tmp_path / "2", c={"local_lip": 0.1 + 0.2})
    table = measurebench.join_results([first, second])
    assert table["model_id"].tolist() == ["a", "b", "c"]
    assert table.index.tolist() == [0, 1, 2]
    assert table["average_ce"].tolist()[:2] == [1.0, 2.0]
    assert table["average_ce"].isna().tolist() == [False, False, True]
    assert table["local_lip"].iloc[2] == 0.1 + 0.2
    assert table["average_ce"].dtype == table["local_lip"].dtype == "float64"
    assert join_results([second, first])["model_id"].tolist() == ["c", "a", "b"]


def test_a_model_in_two_folders_is_refused(tmp_path: Path) -> None:
    first, second = results(tmp_path / "1", a={"average_ce": 1.0}), results(tmp_path / "2", a={"average_ce": 1.0})
    with pytest.raises(BadInputError, match="folders: expected each model in one of them, got 'a' in several"):
        join_results([first, second])


def test_no_folder_is_refused() -> None:
    with pytest.raises(BadInputError, match="expected at least one results folder, got none"):
        join_results([])


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".json"])
def test_what_is_written_is_what_is_returned(tmp_path: Path, ending: str) -> None:
    folders = [results(tmp_path / "1", a={"average_ce": 0.1 + 0.2}), results(tmp_path / "2", b={"path_norm": 3.0})]
    table = export_table(folders, tmp_path / f"models{ending}")
    found = read_table(tmp_path / f"models{ending}")
    assert found["model_id"].tolist() == table["model_id"].tolist()
    assert found["average_ce"].iloc[0] == 0.1 + 0.2
    assert list(found.columns) == list(table.columns)


def test_another_ending_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    folder = results(tmp_path / "1", a={"average_ce": 1.0})
    with pytest.raises(BadInputError, match=r"ends in \.csv, \.parquet or \.json, got '\.xlsx'"):
        export_table(folder, tmp_path / "models.xlsx")
    assert not (tmp_path / "models.xlsx").exists()


def test_several_folders_are_a_source_of_analyses_and_pages(tmp_path: Path) -> None:
    gaps = {name: {"average_ce": k + 0.5, "path_norm": k % 3 + 0.5} for k, name in enumerate("abcdefgh")}
    first = results(tmp_path / "1", **{name: gaps[name] for name in "abcde"})
    second = results(tmp_path / "2", **{name: gaps[name] for name in "fgh"})
    pd.testing.assert_frame_equal(read_sources([first, second]), join_results([first, second]))
    pd.testing.assert_frame_equal(read_sources([first]), read_table(first))
    told = provenance_of_sources([first, second])
    assert told["n_records"] == {"measured": 16, "undefined": 0, "failed": 0}
    assert told["measure_versions"] == {"average_ce": 1, "path_norm": 1}
    assert provenance_of_sources([first]) == read_provenance(first)
    study = load_study([first, second], options={"target": "average_ce", "measures": ["path_norm"], "bootstrap": 50})
    assert (len(study.table), study.name, study.provenance) == (8, "1 + 2", told)
    given = ["--target", "average_ce", "--measures", "path_norm", "--bootstrap", "50"]
    assert run_command_line(["analyze", str(first), str(second), "--out", str(tmp_path / "a"), *given]) == 0
    assert json.loads((tmp_path / "a" / "analysis.json").read_text())["n_models"] == 8


def test_a_table_cannot_be_joined_with_a_folder(tmp_path: Path) -> None:
    folder = results(tmp_path / "1", a={"average_ce": 1.0})
    (tmp_path / "t.csv").write_text("model_id,average_ce\nb,2.0\n")
    with pytest.raises(BadInputError, match=r"t\.csv: expected a results folder, got a file"):
        read_sources([folder, tmp_path / "t.csv"])
