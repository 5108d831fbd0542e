"""Some steps of every operation with a fault; ``nox -s faults`` tries all of them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.attempts import attempts, table
from tests.faults.operations import OPERATIONS, Operation, Run, Train, content

EVERY = {Run.name: 16, Train.name: 0}  # training is left to the long session


@pytest.mark.parametrize("kind", [kind for kind in OPERATIONS if EVERY.get(kind.name, 5)], ids=lambda kind: kind.name)
def test_no_promise_is_broken_by_a_fault(kind: type[Operation], tmp_path: Path) -> None:
    tried = list(attempts(kind(tmp_path / "inputs"), tmp_path / "work" / "out", every=EVERY.get(kind.name, 5)))
    assert len(tried) >= 4
    assert {attempt.fault for attempt in tried} == {"ENOSPC", "EIO", "EDQUOT", "kill"}
    assert not [attempt for attempt in tried if attempt.broken]


class Careless(Operation):
    """Two files that are written in place, one after the other."""

    name, promise, replaces = "careless", "none", True

    def _write(self, out: Path, text: bytes) -> None:
        out.mkdir(parents=True, exist_ok=True)
        for name in ("a", "b"):
            file = os.open(out / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            try:
                os.write(file, text)
            finally:
                os.close(file)

    def before(self, out: Path) -> None:
        self._write(out, b"old!")

    def do(self, out: Path) -> None:
        self._write(out, b"new!")


def test_faults_that_are_there_are_found(tmp_path: Path) -> None:
    tried = list(attempts(Careless(tmp_path / "inputs"), tmp_path / "work" / "out"))
    broken = {(attempt.step, attempt.fault) for attempt in tried if attempt.broken}
    assert {(2, "ENOSPC"), (2, "kill"), (3, "EIO"), (3, "kill")} <= broken
    assert f"| {len(tried) // 4} |" in table(tried)
    assert content(tmp_path / "work" / "out") == {}


def test_the_session_counts_attempts_and_failures() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.faults", "export"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\d+ attempts, 0 failures$", done.stdout, re.MULTILINE)
