import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from measurebench.cli.app import run_command_line
from measurebench.store.checked_lines import Damage
from measurebench.store.folder import ResultsFolder
from measurebench.store.journal import Journal
from tests.store.test_folder import record
from tests.store.test_tables import ENTRY


def study(path: Path, *ids: str, failing: str = "") -> Path:
    with ResultsFolder.writing(path, "0") as folder:
        for model_id in ids:
            folder.add_model(ENTRY | {"model_id": model_id})
            folder.add_record(record(model_id=model_id, value=float(len(model_id))))
            if model_id == failing:
                folder.add_record(
                    record(model_id=model_id, measure="local_lip", status="failed", value=None, reason="out of memory")
                )
            else:
                folder.add_record(record(model_id=model_id, measure="local_lip", value=3.0))
    return path


def test_status_names_what_failed_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = study(tmp_path / "s", "a", "b", failing="b")
    assert run_command_line(["status", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "a: 2 measured" in out
    assert "b: 1 measured, 1 failed" in out
    assert "failed local_lip train: out of memory" in out


def test_status_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = study(tmp_path / "s", "a")
    with ResultsFolder.writing(folder, "0") as results:
        results.add_model(ENTRY | {"model_id": "late"})
    assert run_command_line(["status", str(folder), "--json"]) == 0
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["late"]["measured"] == 0
    assert run_command_line(["status", str(folder)]) == 0
    assert "missing average_ce (train), local_lip (train)" in capsys.readouterr().out


def test_shards_of_a_study_go_into_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = study(tmp_path / "1", "a", "ccc"), study(tmp_path / "2", "bb")
    out = tmp_path / "models.csv"
    assert run_command_line(["export", str(first), str(second), "--out", str(out)]) == 0
    table = pd.read_csv(out)
    assert dict(zip(table["model_id"], table["average_ce"], strict=True)) == {"a": 1.0, "ccc": 3.0, "bb": 2.0}
    assert "3 models" in capsys.readouterr().out


def test_a_model_in_two_shards_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = study(tmp_path / "1", "a"), study(tmp_path / "2", "a")
    assert run_command_line(["export", str(first), str(second), "--out", str(tmp_path / "t.csv")]) == 2
    assert "expected each model in one of them, got 'a' in several" in capsys.readouterr().err
    assert not (tmp_path / "t.csv").exists()


def test_a_folder_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["status", str(tmp_path)], ["export", str(tmp_path), "--out", str(tmp_path / "t.csv")]):
        assert run_command_line(arguments) == 2
        assert "expected a results folder of measurebench" in capsys.readouterr().err


def test_records_are_read_once_however_many_models_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = study(tmp_path / "s", *(f"m{i}" for i in range(20)))
    read: list[Path] = []
    whole = Journal.examine

    def counted(journal: Journal) -> tuple[list[tuple[int, dict[str, Any]]], list[Damage]]:
        read.append(journal.path)
        return whole(journal)

    monkeypatch.setattr(Journal, "examine", counted)
    assert run_command_line(["status", str(folder)]) == 0
    assert read.count(folder / "records.jsonl") == 1
    assert run_command_line(["export", str(folder), "--out", str(tmp_path / "t.csv")]) == 0
    assert read.count(folder / "records.jsonl") == 2
