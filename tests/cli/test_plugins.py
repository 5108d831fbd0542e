import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from measurebench.cli.app import run_command_line
from measurebench.core.infos import measure_infos
from measurebench.store.folder import read_records

MEASURE = """
from dataclasses import dataclass
from typing import ClassVar

from measurebench.core.info import MeasureInfo
from measurebench.measures.registry import register
from measurebench.measures.value import MeasureValue


@register()
@dataclass(frozen=True)
class Mine:
    info: ClassVar[MeasureInfo] = MeasureInfo(
        id="{name}", title="Mine", family="margins", unit="logits", formula="z", source="here", hypothesis="",
        inputs=("clean",), cost="F", explanation="A test.",
    )

    def __call__(self, context):
        return MeasureValue.mean(context.clean_logits.amax(1) + {shift})
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, since a plug-in stays registered."""
    command = [sys.executable, "-m", "measurebench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_file_is_run_in_worker_processes_and_measured_again_when_it_changes(
    manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    plugin, out = tmp_path / "mine.py", tmp_path / "out"
    study = ("run", str(manifest), "--dataset", f"arrays:{images_file}")
    few = ("--measures", "mine,num_params", "--attacks", "pgd", "--workers", "2", "--out", str(out))
    found = []
    for shift in (0, 0, 1):
        plugin.write_text(MEASURE.format(name="mine", shift=shift))
        done = run(*study, *few, "--plugin", str(plugin))
        assert done.returncode == 0, done.stderr
        found.append(
            {r.model_id: (r.value, r.diagnostics["origin_sha256"]) for r in read_records(out) if r.measure == "mine"}
        )
    assert "0 records made" not in done.stdout
    first, again, changed = found
    assert len(first) == 3
    assert first == again
    for name, (value, sha256) in changed.items():
        assert value == pytest.approx(first[name][0] + 1, rel=1e-6)
        assert sha256 != first[name][1]


def test_a_file_that_takes_a_built_in_name_is_an_error_with_both_origins(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(MEASURE.format(name="path_norm", shift=0))
    done = run("measures", "--plugin", str(plugin))
    assert done.returncode == 2
    assert "measure 'path_norm' is registered twice: by " in done.stderr
    assert "mine.py (SHA-256 " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_s_measure_is_listed_and_described(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(MEASURE.format(name="mine", shift=0))
    listed = run("plugins", "--json", "--plugin", str(plugin))
    assert [(row["kind"], row["name"], row["file"]) for row in json.loads(listed.stdout)] == [
        ("measures", "mine", str(plugin))
    ]
    assert "mine.py (SHA-256 " in run("measures", "mine", "--plugin", str(plugin)).stdout


def test_a_file_that_is_not_there_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["plugins", "--plugin", "none.py"]) == 2
    assert "--plugin none.py: expected a Python file NAME.py, got no such file" in capsys.readouterr().err


def test_every_command_takes_plugins(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("run", "export", "train", "measures", "analyze"):
        assert run_command_line([name, "--help"]) == 0
        assert "--plugin" in capsys.readouterr().out


def test_built_in_things_are_listed_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["plugins", "datasets", "objectives", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows if row["kind"] == "objectives"] == ["Standard", "AT", "TRADES", "MART"]
    datasets = {"digits", "cifar10", "cifar100", "arrays", "csv", "imagefolder", "imagenet", "torchvision"}
    assert {row["name"] for row in rows if row["kind"] == "datasets"} == datasets
    assert {row["origin"] for row in rows} == {"measurebench"}


def test_an_unknown_kind_has_a_near_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["plugins", "measure"]) == 2
    assert "did you mean 'measures'" in capsys.readouterr().err


def test_a_broken_package_is_named_in_one_line_and_breaks_nothing_else(tmp_path: Path) -> None:
    info = tmp_path / "broken_package-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-package\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[measurebench.measures]\nmine = broken_package\n")
    (tmp_path / "broken_package.py").write_text("import something_that_is_not_installed\n")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "measurebench"]
    listed = subprocess.run(
        [*command, "measures", "--json"],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.returncode == 0
    assert [row["id"] for row in json.loads(listed.stdout)] == list(measure_infos())
    assert listed.stderr.splitlines() == [
        "measurebench: warning: package broken-package 0.3: the entry point 'mine = broken_package' in "
        "measurebench.measures failed, and its measures are not available: ModuleNotFoundError: No module named "
        "'something_that_is_not_installed'"
    ]
    own = subprocess.run(
        [*command, "plugins"], env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert own.returncode == 1
    assert "package broken-package 0.3" in own.stderr


def test_a_misspelt_group_of_entry_points_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    info = tmp_path / "extras-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: extras\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[measurebench.statistcs]\nmine = extras.mine\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run_command_line(["plugins"]) == 1
    message = (
        "package extras 0.3: nothing reads the group 'measurebench.statistcs' of the entry point 'mine'; did you mean"
    )
    assert f"{message} 'measurebench.statistics'?" in capsys.readouterr().err


def test_where_nothing_is_added_that_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("measurebench.checks.plugin_listing.list_plugins", lambda _: [])
    run_command_line(["plugins"])
    assert "no package and no --plugin file adds anything; `measurebench plugins KIND`" in capsys.readouterr().out
