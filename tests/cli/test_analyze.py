import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from measurebench.cli.analysis_words import tell_claims
from measurebench.cli.app import run_command_line
from tests.stats.tables import grid

QUICK = ["--bootstrap", "40"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    grid().to_csv(path, index=False)
    return path


def test_analyze_writes_the_three_files_and_says_what_was_found(table: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["analyze", str(table), "--out", str(out), "--measures", "signal,noise", *QUICK]
    assert run_command_line([*arguments, "--model", "AT-plain-False-64-best"]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["analysis.json", "correlations.csv", "regressions.csv"]
    said = capsys.readouterr().out
    assert "48 models, 24 independent units" in said
    assert "- signal " in said
    assert "AT-plain-False-64-best: signal = " in said
    assert "Negative controls, which know nothing of the networks: tau_b of random numbers " in said
    assert "Share of the target's variance that is no sampling error (an estimated lower bound): all models 0." in said
    assert "May have the largest |tau| (share of resamples in which it is first): signal" in said
    written = pd.read_csv(out / "correlations.csv")
    assert set(written.loc[~written["control"], "measure"]) == {"signal", "noise"}
    written = json.loads((out / "analysis.json").read_text())
    assert [step["name"] for step in written["filters"]][:2] == ["where", "no target"]
    assert len(written["standing"]) == 2


def test_what_is_no_error_of_a_models_own_is_told_beside_the_reliability(tmp_path: Path, capsys) -> None:
    table = grid()
    table["pgd_accuracy_train"] = 0.6 + 0.05 * table["setting_augmentation"] + 0.001 * (np.arange(48) % 5)
    table["robust_gap_pgd"] = table["pgd_accuracy_train"] - table["pgd_accuracy_test"].mean()
    table.to_csv(tmp_path / "table.csv", index=False)
    arguments = ["analyze", str(tmp_path / "table.csv"), "--out", str(tmp_path / "out"), "--measures", "signal", *QUICK]
    assert run_command_line(arguments) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "no sampling error" in line]
    whole = json.loads((tmp_path / "out" / "analysis.json").read_text())["levels"][0]
    assert whole["reliability"] < whole["reliability_held_out"] < 1
    least = max(0.0, whole["reliability"])
    assert f"all models {least:.2f} ({whole['reliability_held_out']:.2f} is no error of a model's own), AT" in line


def test_analyze_imports_what_it_computes_with_and_nothing_else(table: Path, tmp_path: Path) -> None:
    arguments = ["analyze", str(table), "--out", str(tmp_path / "out"), "--measures", "signal,noise", *QUICK]
    code = (
        "import json, sys; from measurebench.cli.app import run_command_line;"
        f"assert run_command_line({arguments!r}) == 0;"
        "needless = ('torch', 'torchvision', 'matplotlib', 'altair', 'duckdb', 'robustbench', 'PIL', 'safetensors');"
        "print(json.dumps([name for name in needless if name in sys.modules]), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stderr) == []


def test_a_claim_on_the_edge_says_so_and_a_rival_for_the_largest_tau_on_how_many_models(tmp_path: Path, capsys) -> None:
    tell_claims(
        pd.DataFrame(
            {"verdict": ["holds", "not decided"], "claim": ["a", "b"], "measure": ["", "m"], "edge": ["", "AT"]}
        ).assign(found="f")
    )
    assert capsys.readouterr().out.splitlines() == [
        "Claim, holds: a: f",
        "Claim, not decided: b (m): f; on the edge, where another seed may decide otherwise: AT",
    ]
    table = grid()
    table.loc[table["defense"] == "MART", "signal"] = np.nan
    table.to_csv(tmp_path / "table.csv", index=False)
    arguments = ["analyze", str(tmp_path / "table.csv"), "--out", str(tmp_path), "--measures", "signal,noise", *QUICK]
    assert run_command_line(arguments) == 0
    assert "%, on 32 of 48 models)" in capsys.readouterr().out


def test_claims_are_printed_and_written_beside_the_three_files(tmp_path: Path, capsys) -> None:
    table = grid().rename(columns={"signal": "prob_margin_pgd", "noise": "average_flat_pgd"})
    table.to_csv(tmp_path / "table.csv", index=False)
    out = tmp_path / "out"
    assert run_command_line(["analyze", str(tmp_path / "table.csv"), "--out", str(out), "--claims", *QUICK]) == 0
    claims = pd.read_csv(out / "claims.csv").set_index(["measure", "statistic"])
    assert claims.loc[("prob_margin_pgd", "tau_b"), "verdict"] == "holds"
    assert "Claim, holds: larger margins go with a larger gap" in capsys.readouterr().out


def test_the_audit_is_printed_and_written_and_goes_when_it_is_not_asked_for(
    table: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "out"
    arguments = ["analyze", str(table), "--out", str(out), "--measures", "signal,noise", *QUICK]
    assert run_command_line([*arguments, "--audit"]) == 0
    written, said = pd.read_csv(out / "fragility.csv"), capsys.readouterr().out
    row = written.set_index(["measure", "axis"]).loc[("signal", "setting_stop")]
    assert row["share"] == pytest.approx(row["moved"] / row["n_alike"])
    assert f"setting_stop ({row['n_alike']:.0f})" in said
    assert any(line.split()[0] == "signal" and f"{row['share']:.0%}" in line for line in said.splitlines() if line)
    assert run_command_line(arguments) == 0
    assert not (out / "fragility.csv").exists()


def test_the_audit_marks_a_setting_whose_targets_shift(tmp_path: Path, capsys) -> None:
    table = grid().assign(pgd_accuracy_test=0.45)
    table["pgd_accuracy_train"] = 0.5 + 0.02 * (table["setting_stop"] == "last") + 0.001 * (np.arange(48) % 5)
    table["robust_gap_pgd"] = table["pgd_accuracy_train"] - table["pgd_accuracy_test"]
    table.to_csv(tmp_path / "table.csv", index=False)
    arguments = ["analyze", str(tmp_path / "table.csv"), "--out", str(tmp_path / "out"), "--measures", "signal", *QUICK]
    assert run_command_line([*arguments, "--audit"]) == 0
    said = capsys.readouterr().out
    assert "setting_stop (24)*" in said
    assert "* setting_stop: in these pairs the target changes from best to last by +0.02" in said
    assert "setting_batch_size (24)*" not in said


def test_where_and_settings_reach_the_analysis(table: Path, tmp_path: Path) -> None:
    options = ["--where", 'defense != "MART"', "--settings", "architecture,defense", "--measures", "signal"]
    assert run_command_line(["analyze", str(table), "--out", str(tmp_path), *options, *QUICK]) == 0
    written = json.loads((tmp_path / "analysis.json").read_text())
    assert written["n_models"] == 32
    assert written["settings"] == ["architecture", "defense"]
    assert len(written["filters"][0]["left_out"]) == 16


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--target", "robust_gab_pgd"], "did you mean 'robust_gap_pgd'"),
        (["--measures", "architecture"], "expected numbers, got"),
        (["--where", "defense =="], "an expression over columns"),
        (["--bootstrap", "2"], "at least 20 draws"),
    ],
)
def test_bad_options_end_with_status_2_and_one_message(table: Path, tmp_path: Path, capsys, options, expected) -> None:
    assert run_command_line(["analyze", str(table), "--out", str(tmp_path), *options]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert "Traceback" not in said


ODD = "Model Name;Method;lr;Robust gap;margin\n" + "".join(
    f"net{k};M{k % 3};0,{1 + k % 2};0,{10 + k * 7 % 20};1,{10 + k * 11 % 23}\n" for k in range(12)
)


def test_explain_says_what_each_column_is_taken_for_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.csv").write_text(ODD)
    assert run_command_line(["analyze", str(tmp_path / "mine.csv"), "--explain", "--target", "Robust gap"]) == 0
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    found = {" ".join(words[:-1]): words for words in said}
    assert said[0] == ["12", "models,", "5", "columns"]
    assert [line[-1] for line in said[2:7]] == ["--id", "--defense", "--settings", "--target", "--measures"]
    assert any("read with commas in its numbers" in name for name in found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.csv"]


def test_analyze_needs_a_folder_or_explain(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["analyze", str(table)]) == 2
    assert "--out: expected a folder to write to, got none; or --explain for a first look" in capsys.readouterr().err


def test_a_column_whose_name_holds_a_comma_is_chosen_in_quotes(table: Path, tmp_path: Path, capsys) -> None:
    pd.read_csv(table).rename(columns={"signal": "Norm, L2"}).to_csv(tmp_path / "t.csv", index=False)
    options = ["--measures", '"Norm, L2",noise', "--out", str(tmp_path / "out")]
    assert run_command_line(["analyze", str(tmp_path / "t.csv"), *options, *QUICK]) == 0
    assert "- Norm, L2 " in capsys.readouterr().out
