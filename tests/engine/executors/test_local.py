"""Worker processes of this machine: how their end is told."""

import pytest

from measurebench.engine.executors.local import how_it_ended


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
