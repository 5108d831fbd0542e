"""Processes that are killed outright, at moments nobody chose, and files that are cut anywhere."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from measurebench import read_records
from measurebench.attacks.standard import FolderStore
from measurebench.core.threat import Norm
from measurebench.store.examples import read_arrays
from tests.attacks.standard.test_invariance import attack, same

SCRIPT = """
import sys
from pathlib import Path
from measurebench.attacks.standard import FolderStore
from measurebench.core.threat import Norm
from tests.attacks.standard.test_invariance import attack
print("begun", flush=True)
attack(Norm.LINF, store=FolderStore(Path(sys.argv[1])), save_seconds=0.0, slots=4)
"""


@pytest.mark.slow
def test_runs_killed_at_random_moments_end_as_an_undisturbed_one(tmp_path: Path) -> None:
    expected, moments = attack(Norm.LINF), random.Random(0)
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE, env=os.environ
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moments.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    same(attack(Norm.LINF, store=FolderStore(tmp_path)), expected)


# Forks a process for every line of arguments, which thereby need not import torch again. AutoAttack is short and saves
# after nearly every pass.
FORKING = """
import os, sys
import pytest, torch
from measurebench.attacks.standard.saving import Saver
from measurebench.cli.app import run_command_line
from tests.attacks.short import shorten_autoattack
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        patch = pytest.MonkeyPatch()
        shorten_autoattack(patch, 30, 12, 300, targets=3)
        init = Saver.__init__
        patch.setattr(Saver, "__init__", lambda self, *given: init(self, *given[:-1], 0.01))
        os._exit(run_command_line(line.split()))
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@pytest.fixture
def started() -> Iterator[Callable[[list[str]], tuple[int, Callable[[], int]]]]:
    """Return a function that starts the command line and returns its process and a function that waits for its end."""
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", FORKING], env=os.environ, **options) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"

        def start(arguments: list[str]) -> tuple[int, Callable[[], int]]:
            server.stdin.write(" ".join(arguments) + "\n")
            server.stdin.flush()
            return int(server.stdout.readline()), lambda: int(server.stdout.readline())

        yield start


def test_a_killed_measurebench_run_resumes_autoattack_to_the_same_verdicts(
    started: Callable[[list[str]], tuple[int, Callable[[], int]]], manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    def arguments(out: Path) -> list[str]:
        data = ["run", f"{manifest}#net0", "--dataset", f"arrays:{images_file}", "--out", str(out)]
        attack = ["--attacks", "autoattack", "--autoattack-examples", "40", "--radius", "1/10", "--norm", "Linf"]
        return [*data, *attack, "--measures", "average_ce", "--workers", "1", "--seed", "0"]

    def verdicts(out: Path) -> dict[str, np.ndarray]:
        (path,) = out.glob("examples/*/*/test-autoattack_accuracy.npz")
        arrays = read_arrays(path)
        assert arrays is not None
        return arrays

    whole, out, moments = tmp_path / "whole", tmp_path / "out", random.Random(0)
    began = time.monotonic()
    assert started(arguments(whole))[1]() == 0
    seconds, in_time = time.monotonic() - began, 0
    for _ in range(3):
        process, wait = started(arguments(out))
        time.sleep(moments.uniform(0.2, 0.7) * seconds)
        with suppress(ProcessLookupError):  # it was faster than the first one
            os.kill(process, signal.SIGKILL)
        in_time += wait() == signal.SIGKILL
        blocks = sorted(out.glob("blocks/*/*/*.block"))
        if blocks:  # what a disk that lies may leave of the last file
            path = moments.choice(blocks)
            path.write_bytes(path.read_bytes()[: moments.randrange(path.stat().st_size)])
    assert in_time >= 2
    assert started(arguments(out))[1]() == 0
    ours, expected = verdicts(out), verdicts(whole)
    assert sorted(ours) == sorted(expected)
    for name, values in expected.items():
        # A batch of other rows rounds otherwise in the last digits.
        np.testing.assert_allclose(ours[name], values, rtol=0, atol=1e-6) if values.dtype.kind == "f" else (
            np.testing.assert_array_equal(ours[name], values, name)
        )
    robust = expected["robust"].sum()
    assert 0 < robust < expected["correct"].sum()
    records = [r for r in read_records(out) if r.measure == "autoattack_accuracy"]
    assert [r.split for r in records].count("test") == 1
