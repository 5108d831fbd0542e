"""The package says at import that torch is too old, instead of failing at the first lost GPU."""

import importlib
import subprocess
import sys
import tomllib

import pytest
import torch

from measurebench import compute
from measurebench.compute import check_torch
from measurebench.core.errors import MeasurebenchError
from tests.documentation import ROOT


@pytest.mark.parametrize("version", ["2.8.0", "2.8.0+cu128", "2.8.0a0+5228986c39.nv25.06", "2.11.0", "2.15.0", "3.0"])
def test_versions_from_2_8_on_are_accepted(version: str) -> None:
    check_torch(version)


@pytest.mark.parametrize("version", ["2.7.1", "2.6.0+cu124", "1.13.1", "0.4"])
def test_older_versions_are_refused_with_both_versions_and_the_remedy(version: str) -> None:
    with pytest.raises(MeasurebenchError) as caught:
        check_torch(version)
    expected = f'torch: expected version 2.8 or newer, got {version}; pip install "torch>=2.8"'
    assert str(caught.value) == expected


def test_the_import_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.7.1")
    with pytest.raises(MeasurebenchError, match=r"got 2\.7\.1"):
        importlib.reload(compute)
    monkeypatch.undo()
    importlib.reload(compute)


def test_the_oldest_version_is_the_one_that_the_package_asks_for() -> None:
    bound = ".".join(map(str, compute.OLDEST_TORCH))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"torch>={bound}" in project["dependencies"]
    assert hasattr(torch, "AcceleratorError")


def test_the_command_line_says_it_in_one_line() -> None:
    code = (
        "import sys, torch; torch.__version__ = '2.6.0'\n"
        "from measurebench.__main__ import main\n"
        "sys.argv = ['measurebench', 'run', 'digits:*', '--dataset', 'digits', '--out', 'nowhere', '--measures', "
        "'num_params', '--attacks', 'none']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "torch: expected version 2.8 or newer, got 2.6.0" in done.stderr
    assert "Traceback" not in done.stderr
