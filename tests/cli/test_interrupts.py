"""Ctrl-C at any time: one line and status 130, never a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from measurebench.cli.app import run_command_line

# Sends Ctrl-C to its own process when a module is imported, then runs the command line.
SELF_INTERRUPTING = """
import os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

class Finder:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
sys.argv = ["measurebench", "status", {folder!r}]
from measurebench.__main__ import main
main()
"""


@pytest.mark.parametrize(
    "module", ["measurebench.cli", "typer", "measurebench.cli.status", "measurebench.store.status"]
)
def test_ctrl_c_while_modules_are_imported_gives_no_traceback(module: str, tmp_path: Path) -> None:
    (tmp_path / "measurebench.json").write_text('{"format": 1}')
    code = SELF_INTERRUPTING.format(module=module, folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "measurebench: Interrupted.\n")


@pytest.mark.parametrize("hidden", [True, False])
def test_an_error_made_of_ctrl_c_is_ctrl_c(
    hidden: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "measurebench.json").write_text('{"format": 1}')

    def import_that_fails(_folder: Path) -> None:
        message = "Error calling __set_name__"
        raise RuntimeError(message) from (KeyboardInterrupt() if hidden else ValueError())

    monkeypatch.setattr("measurebench.store.status.read_status", import_that_fails)
    if hidden:
        assert run_command_line(["status", str(tmp_path)]) == 130
        assert capsys.readouterr().err == "measurebench: Interrupted.\n"
    else:
        with pytest.raises(RuntimeError, match="__set_name__"):
            run_command_line(["status", str(tmp_path)])
