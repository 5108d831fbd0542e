import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from measurebench.cli.app import run_command_line
from measurebench.core.records import Question
from measurebench.store.checked_lines import LineReader
from measurebench.store.folder import ResultsFolder
from measurebench.store.gpu_uses import GpuUse
from measurebench.store.run_plan import write_plan
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


def test_status_tells_how_well_blocks_were_predicted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = study(tmp_path / "s", "a")
    assert run_command_line(["status", str(folder), "--json", "--summary"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["predictions"] is None
    with ResultsFolder.writing(folder, "0") as results:
        for factor in (1.0, 1.2, 1.5):
            results.add_cost({"kind": "attack", "device": "cpu", "predicted": 10.0, "seconds": 10.0 * factor})
    assert run_command_line(["status", str(folder), "--summary"]) == 0
    line = "measured over predicted seconds: median 1.2, 90 % within a factor of 1.5, over 3 blocks"
    assert f"  {line}\n" in capsys.readouterr().out
    assert run_command_line(["status", str(folder), "--json", "--summary"]) == 0
    told = json.loads(capsys.readouterr().out)[0]["predictions"]
    assert told == {"n_blocks": 3, "predicted_seconds": 30.0, "seconds": 37.0, "ratio": 1.2, "factor_90": 1.5}


def test_status_tells_the_use_of_gpus_while_a_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = study(tmp_path / "s", "a")
    use = GpuUse("node-1", "H100", "cuda:0", 3 * 2**30, 80 * 2**30, 2**30, 97.0, "2999-01-01T00:00:00+00:00")
    with ResultsFolder.writing(folder, "0") as results:
        results.add_cost({"kind": "attack", "device": "cuda", "predicted": 1.0, "seconds": 1.0, "gpu": use.to_json()})
    assert run_command_line(["status", str(folder)]) == 0
    assert "GPU" not in capsys.readouterr().out  # nothing says that a run goes on
    question: Question = ("average_ce", 1, "train", None)
    write_plan(folder, [("a", "c"), ("b", "c")], [question])
    assert run_command_line(["status", str(folder), "--summary"]) == 0
    assert "  GPU node-1 cuda:0 (H100): 3.0 of 80.0 GiB in use, 97 % busy" in capsys.readouterr().out
    assert run_command_line(["status", str(folder), "--json", "--summary"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["gpus"] == [use.to_json()]


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
    read, whole = list[bytes](), LineReader.read

    def counted(reader: LineReader, line: bytes, number: int) -> Any:
        read.append(line)
        return whole(reader, line, number)

    monkeypatch.setattr(LineReader, "read", counted)
    assert run_command_line(["status", str(folder)]) == 0
    assert sum(b'"measure_version"' in line for line in read) == 40
    assert run_command_line(["export", str(folder), "--out", str(tmp_path / "t.csv")]) == 0
    assert sum(b'"measure_version"' in line for line in read) == 80


def planned(path: Path) -> Path:
    """Return a folder whose plan is a third model besides two that are measured."""
    questions: list[Question] = [("average_ce", 1, "train", None), ("local_lip", 1, "train", None)]
    with ResultsFolder.writing(path, "0") as folder:
        write_plan(path, [(name, "c") for name in ("a", "b", "late")], questions)
        for name in ("a", "b"):
            folder.add_model(ENTRY | {"model_id": name, "model_digest": "d", "config_digest": "c"})
            folder.add_record(record(model_id=name))
            folder.add_record(record(model_id=name, measure="local_lip", value=2.0))
    return path


def test_status_tells_how_much_of_the_plan_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = planned(tmp_path / "s")
    assert run_command_line(["status", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{folder}: 2 models, 4 values"
    assert lines[1] == "  plan: 3 models, 4 of 6 values on record: 66.7 %, time left not known yet"
    assert lines[2] == "  not begun: late"
    assert lines[3] == "  a: 2 measured"
    assert run_command_line(["status", str(folder), "--summary", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["models"], told["measured"], told["failed"], told["plan"]["percentage"]) == (2, 4, 0, 66.67)


def test_status_of_several_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = study(tmp_path / "1", "a"), study(tmp_path / "2", "b", failing="b")
    assert run_command_line(["status", str(first), str(second), "--summary"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out == [f"{first}: 1 models, 2 values", f"{second}: 1 models, 1 values, 1 failed"]
    run_command_line(["status", str(first), str(second), "--json"])
    assert [(row["id"], row["folder"]) for row in json.loads(capsys.readouterr().out)] == [
        ("a", str(first)),
        ("b", str(second)),
    ]


def test_watching_ends_when_all_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = planned(tmp_path / "s")

    def measured(_seconds: float) -> None:
        with ResultsFolder.writing(folder, "0") as results:
            results.add_model(ENTRY | {"model_id": "late", "model_digest": "d", "config_digest": "c"})
            for measure in ("average_ce", "local_lip"):
                results.add_record(record(model_id="late", measure=measure))

    monkeypatch.setattr("measurebench.cli.status.time.sleep", measured)
    assert run_command_line(["status", str(folder), "--watch"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{folder}: 2 models, 4 values"
    assert lines[-2:] == [f"{folder}: 3 models, 6 values", "  plan: 3 models, 6 of 6 values on record: finished"]


def test_watching_prints_no_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["status", str(planned(tmp_path / "p")), "--watch", "--json"]) == 2
    told = capsys.readouterr()
    assert (told.out, "--json: expected no --watch beside it, got both" in told.err) == ("", True)


def test_watching_a_folder_without_a_plan_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["status", str(study(tmp_path / "s", "a")), "--watch"]) == 2
    assert "expected a folder with the plan of a run" in capsys.readouterr().err
    assert run_command_line(["status", str(planned(tmp_path / "p")), "--watch", "--every", "0"]) == 2
    for endless in ("inf", "1e300", "nan"):
        assert run_command_line(["status", str(tmp_path / "p"), "--watch", "--every", endless]) == 2
