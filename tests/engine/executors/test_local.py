"""Worker processes of this machine: how their end is told."""

from pathlib import Path

import pytest

from measurebench.datasets import load_dataset
from measurebench.engine.executors import local
from measurebench.engine.executors.local import LocalPool, how_it_ended
from measurebench.engine.options import RunOptions


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (-9, "was ended by SIGKILL (out of memory?)"),
        (-11, "was ended by SIGSEGV"),
        (0, "ended with status 0"),
        (None, "ended with status None"),
    ],
)
def test_a_death_is_told_in_words(exit_code: int | None, words: str) -> None:
    assert how_it_ended(exit_code) == f"the worker process {words}"


def test_idle_workers_end_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_GRACE_SECONDS", 120.0)  # a busy machine takes long to start it in the first place
    pool = LocalPool(RunOptions("digits", attacks="none"), load_dataset("digits").reduced(1, 1), tmp_path, 1)
    (process,) = pool._processes.values()
    pool.stop()
    assert process.exitcode == 0  # one that is terminated leaves semaphores behind, and Python warns of them
