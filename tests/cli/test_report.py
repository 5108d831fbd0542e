from pathlib import Path

import pytest

from measurebench.cli.app import run_command_line
from tests.reporting.synthetic import study_table


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "models.csv"
    keep = ["model_id", "defense", "run", "robust_gap_pgd", "pgd_accuracy_train", "pgd_accuracy_test", "local_lip"]
    study_table(18)[keep].to_csv(path, index=False)
    return path


def test_report_writes_one_page_from_any_table(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["report", str(table), "--out", str(tmp_path / "page")]) == 0
    assert [path.name for path in (tmp_path / "page").iterdir()] == ["index.html"]
    assert "index.html" in capsys.readouterr().out


def test_report_of_nothing_says_what_was_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["report", str(tmp_path / "none.csv"), "--out", str(tmp_path)]) == 2
    assert "expected a results folder or a table" in capsys.readouterr().err


def test_report_names_an_unknown_format(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["report", str(table), "--out", str(tmp_path), "--figures", str(tmp_path), "--format", "gif"]
    assert run_command_line(arguments) == 2
    assert "expected svg, png or pdf, got 'gif'" in capsys.readouterr().err


def test_an_unknown_target_is_named(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["report", str(table), "--out", str(tmp_path), "--target", "robust_gap_pdg"]) == 2
    assert "robust_gap_pgd" in capsys.readouterr().err


def test_report_speaks_of_the_models_that_a_filter_keeps(table: Path, tmp_path: Path) -> None:
    arguments = ["report", str(table), "--out", str(tmp_path / "page"), "--where", 'defense != "Standard"']
    assert run_command_line(arguments) == 0
    page = (tmp_path / "page" / "index.html").read_text()
    assert "percentage points over 10 models" in page
    assert "10 of 18" in page


def test_compare_prints_what_changed(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["compare", str(table), str(table)]) == 0
    assert "shown in both studies, with the same sign" in capsys.readouterr().out


def test_leaderboard_refuses_an_unknown_norm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["leaderboard", "--out", str(tmp_path), "--norm", "L1"]) == 2
    assert "imagenet corruptions, got cifar10 L1" in capsys.readouterr().err


def test_leaderboard_refuses_records_without_model_ids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = tmp_path / "records.csv"
    records.write_text("name,local_lip\nWong2020Fast,1.5\n")
    assert run_command_line(["leaderboard", "--out", str(tmp_path), "--records", str(records)]) == 2
    assert "records: expected a table with a column model_id" in capsys.readouterr().err


def test_report_and_compare_take_a_table_with_any_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = {"model_id": "Network", "defense": "Group", "robust_gap_pgd": "Gap", "local_lip": "lipschitz"}
    keep = study_table(18)[[*odd, "pgd_accuracy_train"]].rename(columns=odd).assign(other=range(18))
    keep.to_csv(tmp_path / "t.csv", index=False, sep=";", decimal=",")
    named = [
        "--target",
        "Gap",
        "--measures",
        "lipschitz",
        "--defense",
        "Group",
        "--settings",
        "Group",
        "--id",
        "Network",
    ]
    assert run_command_line(["report", str(tmp_path / "t.csv"), "--out", str(tmp_path / "page"), *named]) == 0
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "lipschitz" in page
    assert keep["Network"].iloc[0] in page
    capsys.readouterr()
    assert run_command_line(["compare", str(tmp_path / "t.csv"), str(tmp_path / "t.csv"), *named]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["lipschitz"]
