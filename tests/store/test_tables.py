from pathlib import Path

import pandas as pd
import pytest

from measurebench.core.errors import BadInputError
from measurebench.store.folder import ResultsFolder
from measurebench.store.tables import export, read_table, write_table
from tests.store.test_folder import record

ENTRY = {
    "model_id": "a", "model_digest": "d", "config_digest": "c", "source": "local", "file_sha256": "f",
    "architecture": "net", "n_parameters": 10, "defense": "AT", "dataset": "digits", "norm": "Linf", "radius": 0.1,
    "run": "r", "cluster": "k", "settings": {"steps": 10, "augmentation": True}, "n_train": 50, "n_test": 90,
    "failure": "", "measurebench_version": "0",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> ResultsFolder:
    with ResultsFolder.writing(tmp_path / "out", "0") as out:
        out.add_model(ENTRY)
        out.add_model(ENTRY | {"model_id": "b", "failure": "ModelError: broken"})
        accuracies = {"pgd_accuracy": (0.75, 0.5), "clean_accuracy": (1.0, 0.9), "autoattack_accuracy": (None, 0.4)}
        for measure, (train, test) in accuracies.items():
            if train is not None:
                out.add_record(record(measure=measure, split="train", value=train, n=50))
            out.add_record(record(measure=measure, split="test", value=test, n=90 if test != 0.4 else 20))
        out.add_record(record(value=2.5))
        out.add_record(record(measure="path_norm", status="undefined", value=None, reason="no such layer"))
        out.add_record(record(measure="average_ce", config_digest="old", value=99.0))
    return ResultsFolder.open(tmp_path / "out")


def test_one_row_per_model_with_the_columns_of_the_contract(folder: ResultsFolder) -> None:
    table = export(folder)
    assert list(table.columns) == [
        "model_id", "source", "file_sha256", "architecture", "n_parameters", "defense", "dataset", "norm", "radius",
        "run", "cluster", "setting_augmentation", "setting_steps", "n_train", "n_test", "n_autoattack",
        "clean_accuracy_train", "clean_accuracy_test", "pgd_accuracy_train", "pgd_accuracy_test",
        "autoattack_accuracy_train", "autoattack_accuracy_test", "robust_gap_pgd", "robust_gap_autoattack",
        "path_norm", "average_ce", "measurebench_version", "config_digest", "status", "reason",
    ]  # fmt: skip
    assert table["model_id"].tolist() == ["a", "b"]


def test_gap_is_train_minus_test_and_empty_where_a_side_is_missing(folder: ResultsFolder) -> None:
    row = export(folder).iloc[0]
    assert row["robust_gap_pgd"] == 0.25
    assert pd.isna(row["robust_gap_autoattack"])
    assert row["n_autoattack"] == 20


def test_undefined_is_empty_with_its_reason_and_no_failure(folder: ResultsFolder) -> None:
    row = export(folder).iloc[0]
    assert pd.isna(row["path_norm"])
    assert row["status"] == "measured"
    assert row["reason"] == "path_norm: no such layer"


def test_a_failed_model_is_a_row_without_numbers(folder: ResultsFolder) -> None:
    row = export(folder).iloc[1]
    assert (row["status"], row["reason"]) == ("failed", "ModelError: broken")
    assert pd.isna(row["clean_accuracy_test"])


def test_records_of_another_configuration_do_not_leak_in(folder: ResultsFolder) -> None:
    assert export(folder).iloc[0]["average_ce"] == 2.5


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".json"])
def test_a_table_survives_every_format(folder: ResultsFolder, tmp_path: Path, ending: str) -> None:
    table = export(folder)
    write_table(table, tmp_path / f"t{ending}")
    again = read_table(tmp_path / f"t{ending}")
    assert list(again.columns) == list(table.columns)
    assert again["robust_gap_pgd"].iloc[0] == 0.25
    assert again["average_ce"].iloc[0] == 2.5


def test_what_is_no_table_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("")
    (tmp_path / "t.parquet").write_text("<html>")
    (tmp_path / "t.xlsx").write_text("")
    for name in ("t.csv", "t.parquet", "t.xlsx", "missing.csv"):
        with pytest.raises(BadInputError, match=name):
            read_table(tmp_path / name)
    with pytest.raises(BadInputError, match="ends in .csv, .parquet or .json"):
        write_table(pd.DataFrame({"a": [1]}), tmp_path / "t.txt")
