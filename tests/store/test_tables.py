import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.infos import measure_infos
from measurebench.store import tables
from measurebench.store.folder import ResultsFolder
from measurebench.store.tables import CORE, export, read_table, write_table
from tests.store.test_folder import record

ENTRY = {
    "model_id": "a",
    "model_digest": "d",
    "config_digest": "c",
    "source": "local",
    "file_sha256": "f",
    "architecture": "net",
    "n_parameters": 10,
    "defense": "AT",
    "dataset": "digits",
    "norm": "Linf",
    "radius": 0.1,
    "run": "r",
    "cluster": "k",
    "settings": {"steps": 10, "augmentation": True},
    "n_train": 50,
    "n_test": 90,
    "failure": "",
    "measurebench_version": "0",
}


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
        "model_id",
        "source",
        "file_sha256",
        "architecture",
        "n_parameters",
        "defense",
        "dataset",
        "norm",
        "radius",
        "run",
        "cluster",
        "setting_augmentation",
        "setting_steps",
        "n_train",
        "n_test",
        "n_autoattack",
        "clean_accuracy_train",
        "clean_accuracy_test",
        "pgd_accuracy_train",
        "pgd_accuracy_test",
        "autoattack_accuracy_train",
        "autoattack_accuracy_test",
        "robust_gap_pgd",
        "robust_gap_autoattack",
        "path_norm",
        "average_ce",
        "measurebench_version",
        "config_digest",
        "status",
        "reason",
    ]
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


def test_names_that_look_like_numbers_or_like_nothing_stay_as_written(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "model_id,run,cluster,config_digest,defense,steps,average_ce\n001,01,1e5,12,None,10,0.5\n002,,nan,13,NA,,NA\n"
    )
    first, second = (row.to_dict() for _, row in read_table(tmp_path / "t.csv").iterrows())
    assert [first[name] for name in ("model_id", "run", "cluster", "config_digest")] == ["001", "01", "1e5", "12"]
    assert (first["defense"], second["defense"]) == ("None", "NA")
    assert pd.isna(second["run"])
    assert pd.isna(second["cluster"])
    assert pd.isna(second["steps"])


def test_among_numbers_and_truth_values_na_is_missing(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("model_id,x,note,setting_awp,setting_extra\na,0.5,NA,True,\nb,NA,x,None,False\n")
    table = read_table(tmp_path / "t.csv")
    assert table["x"].dtype == float
    assert table["x"].isna().tolist() == [False, True]
    assert table["note"].tolist() == ["NA", "x"]
    assert (table["setting_awp"][0], table["setting_extra"][1]) == (True, False)
    assert pd.isna(table["setting_awp"][1])
    assert pd.isna(table["setting_extra"][0])


def test_json_keeps_every_digit_and_writes_missing_as_null(tmp_path: Path) -> None:
    values = [1.2345678901234567e-12, 0.1 + 0.2, float("nan")]
    table = pd.DataFrame({"model_id": ["a", "b", "c"], "x": values, "n": [1, 2, 3], "t": ["é", None, True]})
    write_table(table, tmp_path / "t.json")
    rows = json.loads((tmp_path / "t.json").read_text(), parse_constant=pytest.fail)
    assert [row["x"] for row in rows] == [*values[:2], None]
    assert [row["n"] for row in rows] == [1, 2, 3]
    assert [row["t"] for row in rows] == ["é", None, True]
    assert read_table(tmp_path / "t.json")["x"].tolist()[:2] == values[:2]


def test_a_setting_of_several_types_is_text_in_parquet(tmp_path: Path) -> None:
    table = pd.DataFrame({"model_id": ["a", "b", "c"], "setting_lr": pd.Series([0.1, "cosine", None], dtype=object)})
    table["setting_steps"] = pd.Series([1, 2, None], dtype=object)
    table["setting_flag"] = pd.Series([True, 1, None], dtype=object)
    write_table(table, tmp_path / "t.parquet")
    again = read_table(tmp_path / "t.parquet")
    assert again["setting_lr"].tolist()[:2] == ["0.1", "cosine"]
    assert pd.isna(again["setting_lr"][2])
    assert again["setting_steps"].tolist()[:2] == [1, 2]
    assert again["setting_flag"].tolist()[:2] == ["True", "1"]
    assert table["setting_lr"].tolist()[0] == 0.1


@pytest.mark.parametrize(
    "content", ["[1, 2, 3]", "null", "3", '"a"', '{"a": [1]}', '[{"a": 1}, null]', '[{"a": [1]}]', '[{"a": {"b": 1}}]']
)
def test_json_that_is_no_list_of_plain_objects_is_refused_in_words(content: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(BadInputError, match=r"t\.json: expected a list of objects with plain values, got "):
        read_table(tmp_path / "t.json")


def attacked(tmp_path: Path, *measured: tuple[str, str, float, int], **entry: int) -> pd.DataFrame:
    """Return the table of one model whose accuracies under attacks are (attack, split, accuracy, n)."""
    with ResultsFolder.writing(tmp_path / "attacked", "0") as out:
        out.add_model(ENTRY | entry)
        for attack, split, value, n in measured:
            out.add_record(record(measure=f"{attack}_accuracy", split=split, value=value, n=n))
        out.add_record(record(value=2.5))
    return export(ResultsFolder.open(tmp_path / "attacked"))


def test_any_attack_on_both_splits_has_a_gap(tmp_path: Path) -> None:
    table = attacked(tmp_path, ("square", "train", 0.75, 50), ("square", "test", 0.5, 90), ("other", "test", 0.25, 90))
    assert table["robust_gap_square"].tolist() == [0.25]
    assert "robust_gap_other" not in table.columns
    assert table["robust_gap_pgd"].isna().all()
    assert not {"n_square", "n_square_train", "n_other"} & set(table.columns)


def test_an_attack_on_a_part_of_the_images_says_on_how_many(tmp_path: Path) -> None:
    table = attacked(tmp_path, ("square", "train", 0.75, 50), ("square", "test", 0.5, 10), ("other", "test", 0.25, 90))
    assert table[["n_square", "n_square_train"]].to_numpy().tolist() == [[10, 50]]
    assert "n_other" not in table.columns


def test_autoattack_on_training_images_says_on_how_many_beside_those_of_the_test(tmp_path: Path) -> None:
    table = attacked(tmp_path, ("autoattack", "train", 0.75, 50), ("autoattack", "test", 0.5, 90))
    assert table[["n_autoattack", "n_autoattack_train"]].to_numpy().tolist() == [[90, 50]]
    columns = list(table.columns)
    assert columns[columns.index("n_autoattack") + 1] == "n_autoattack_train"
    assert table["robust_gap_autoattack"].tolist() == [0.25]


def test_outcomes_of_other_attacks_follow_those_of_the_contract_and_come_before_measures(tmp_path: Path) -> None:
    table = attacked(tmp_path, ("apgd-ce", "train", 0.75, 50), ("apgd-ce", "test", 0.5, 20))
    names = list(table.columns)
    assert names[names.index("n_autoattack") :] == [
        "n_autoattack",
        "n_apgd-ce",
        "n_apgd-ce_train",
        "clean_accuracy_train",
        "clean_accuracy_test",
        "pgd_accuracy_train",
        "pgd_accuracy_test",
        "autoattack_accuracy_train",
        "autoattack_accuracy_test",
        "apgd-ce_accuracy_train",
        "apgd-ce_accuracy_test",
        "robust_gap_pgd",
        "robust_gap_autoattack",
        "robust_gap_apgd-ce",
        "average_ce",
        "measurebench_version",
        "config_digest",
        "status",
        "reason",
    ]


def test_of_two_autoattack_runs_the_larger_counts_with_its_number(tmp_path: Path) -> None:
    table = attacked(tmp_path, ("autoattack", "test", 0.5, 10), ("autoattack", "test", 0.25, 40))
    assert table[["autoattack_accuracy_test", "n_autoattack"]].to_numpy().tolist() == [[0.25, 40]]


def test_the_core_list_is_that_of_the_measures_tiers_in_the_order_of_the_study() -> None:
    core = {name for name, info in measure_infos().items() if info.tier == "core"}
    assert set(CORE) == core
    assert set(tables._STUDY_ORDER) <= core
    assert CORE[:3] == ("num_params", "path_norm", "log_prod_of_spec")


def test_a_new_core_measure_follows_the_studys(monkeypatch: pytest.MonkeyPatch) -> None:
    infos = measure_infos()
    added = {
        **infos,
        "mine": replace(infos["path_norm"], id="mine"),
        "num_params": replace(infos["num_params"], tier="new"),
    }
    monkeypatch.setattr(tables, "measure_infos", lambda: added)
    assert tables._core() == (*(name for name in CORE if name != "num_params"), "mine")


def test_the_core_list_is_read_without_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; from measurebench.store.tables import CORE; assert len(CORE) == 18"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_half_of_a_pair_of_escapes_in_a_json_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('[{"model_id": "a\\ud800", "x": 1}]')
    with pytest.raises(BadInputError, match=r"t\.json: expected a json table, got UnicodeEncodeError"):
        read_table(tmp_path / "t.json")
    (tmp_path / "t.json").write_text('[{"model_id": "a\\ud83d\\ude00", "x": 1}]')
    assert read_table(tmp_path / "t.json")["model_id"].tolist() == ["a\U0001f600"]
