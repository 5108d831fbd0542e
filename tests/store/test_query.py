"""Questions in SQL: right answers, nothing but one SELECT, and no way to other files."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from measurebench.cli.app import run_command_line
from measurebench.core.errors import BadInputError
from measurebench.store import record_reader
from measurebench.store.folder import ResultsFolder
from measurebench.store.query import query_results
from tests.store.test_folder import record
from tests.store.test_tables import ENTRY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with ResultsFolder.writing(tmp_path / "out", "0") as results:
        for name, value in (("a", 1.0), ("b", 2.0)):
            results.add_model(ENTRY | {"model_id": name})
            results.add_record(record(model_id=name, value=7.0))
            results.add_record(record(model_id=name, value=value))
        results.add_record(record(model_id="b", measure="local_lip", status="failed", value=None, reason="no memory"))
    return tmp_path / "out"


def duckdb_or_skip() -> None:
    pytest.importorskip("duckdb", reason="the group of the tests has it")


@pytest.mark.parametrize("with_snapshot", [False, True])
def test_records_and_models_answer_questions(
    folder: Path, with_snapshot: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    duckdb_or_skip()
    if with_snapshot:
        monkeypatch.setattr(record_reader, "SNAPSHOT_BYTES", 1)
    found = query_results(folder, "select model_id, value from records where status = 'measured' order by model_id")
    assert found.to_dict("records") == [{"model_id": "a", "value": 1.0}, {"model_id": "b", "value": 2.0}]
    found = query_results(
        folder, "select m.status, count(*) as n from MODELS m join records using (model_id) group by 1"
    )
    assert sorted(found.itertuples(index=False, name=None)) == [("failed", 2), ("measured", 1)]


@pytest.mark.parametrize(
    "sql",
    [
        "copy records to 'x.csv'",
        "select 1; select 2",
        "",
        "selec",
        "create table x(a int)",
        "attach 'x.db'",
        "set enable_external_access = true",
        "install httpfs",
        "select * from nothing",
        "select * from read_text('measurebench.json')",
        "select * from read_csv('records.jsonl')",
        "select * from 'records.jsonl'",
        "select * from glob('*')",
        "select * from folder",  # a variable of Python
    ],
)
def test_only_one_select_over_the_tables_is_answered(folder: Path, sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    duckdb_or_skip()
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    with pytest.raises(BadInputError, match=r"query: expected (one SELECT|SQL that DuckDB accepts), got"):
        query_results(folder, sql)
    assert sorted(folder.iterdir()) == before


def test_a_mistake_is_told_in_one_line_without_a_drawing_of_the_query(folder: Path) -> None:
    duckdb_or_skip()
    with pytest.raises(BadInputError, match="Referenced column .valeu. not found") as caught:
        query_results(folder, "select valeu from records")
    assert "\n" not in str(caught.value)
    assert "^" not in str(caught.value)


def test_the_command_prints_and_writes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    duckdb_or_skip()
    sql = "select model_id, value from records where measure = 'average_ce' order by 1"
    assert run_command_line(["query", str(folder), sql]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["model_id", "value"],
        ["a", "1"],
        ["b", "2"],
    ]
    assert run_command_line(["query", str(folder), sql, "--json"]) == 0
    assert '"model_id": "b"' in capsys.readouterr().out
    assert run_command_line(["query", str(folder), sql, "--out", str(tmp_path / "t.csv")]) == 0
    assert pd.read_csv(tmp_path / "t.csv")["value"].tolist() == [1.0, 2.0]


def test_without_duckdb_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(BadInputError, match=r"pip install 'measurebench\[query\]'"):
        query_results(folder, "select 1")


def test_names_of_columns_do_nothing_to_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    duckdb_or_skip()
    assert run_command_line(["query", str(folder), 'select 1 as "\x1b[2J[bold]x"']) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert r"\x1b[2J[bold]x" in printed


def test_values_that_json_does_not_know_are_printed_as_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    duckdb_or_skip()
    zero = "00000000-0000-0000-0000-000000000000"
    assert run_command_line(["query", str(folder), f"select '{zero}'::uuid as id", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"id": zero}]


def test_a_query_that_is_not_utf8_is_refused(folder: Path) -> None:
    duckdb_or_skip()
    with pytest.raises(BadInputError, match="query: expected text in UTF-8"):
        query_results(folder, "select '\ud800'")
