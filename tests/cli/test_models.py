"""``measurebench models``: what can be measured, for people and for programs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from measurebench.cli.app import run_command_line


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    assert run_command_line(["models", *arguments, "--json"]) == 0
    rows: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return rows


def test_folder_is_listed_with_the_contract_s_fields(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = listed(capsys, str(manifest.parent))
    assert [row["id"] for row in rows] == ["net0", "net1", "net2"]
    assert rows[1]["reference"] == f"{manifest.parent}#net1"
    assert rows[1]["architecture"] == "nets.py:small"
    assert (rows[1]["defense"], rows[1]["norm"], rows[1]["radius"]) == ("Standard", "Linf", "1/20")


def test_robustbench_is_listed_with_accuracies_parameters_and_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MEASUREBENCH_CACHE", str(tmp_path))
    rows = {str(row["reference"]): row for row in listed(capsys, "robustbench")}
    assert len(rows) == 97
    row = rows["robustbench:Linf/Zhang2019Theoretically"]
    assert (row["defense"], row["clean_accuracy"], row["robust_accuracy"]) == ("TRADES", 0.8492, 0.5308)
    assert row["paper"] == "Theoretically Principled Trade-off between Robustness and Accuracy"
    assert row["n_parameters"] == 48_262_586
    assert row["cached"] is False
    assert len(listed(capsys, "robustbench:L2/*")) == 21
    assert len(listed(capsys, "robustbench", "--dataset", "cifar100")) == 38


def test_architectures_are_listed_with_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["architecture"]: row for row in listed(capsys, "architectures")}
    assert rows["wrn-34-10"]["n_parameters"] == 46_160_474
    assert {"resnet-18", "preactresnet-18", "vgg-16", "densenet-121", "wrn-70-16", "cnn-small"} <= set(rows)


def test_table_for_people_names_reference_and_defense(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["models", str(manifest.parent)]) == 0
    out = capsys.readouterr().out
    assert f"{manifest.parent}#net2" in out
    assert "Standard" in out
    assert "3 in " in out


def test_unknown_source_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["models", "robustbnch"]) == 2
    assert "did you mean 'robustbench:Linf/*'" in capsys.readouterr().err


def test_robustbench_list_needs_neither_torch_nor_robustbench() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['robustbench'] = None\n"
        "from measurebench.cli.app import run_command_line\n"
        "sys.exit(run_command_line(['models', 'robustbench', '--json']))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(json.loads(result.stdout)) == 97
