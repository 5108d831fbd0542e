"""Runs that share a results folder, as processes of their own."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from measurebench import read_records, run
from measurebench.core.errors import BadInputError
from measurebench.core.records import Record
from measurebench.store.folder import ResultsFolder
from measurebench.store.tables import read_table
from measurebench.store.verification import verify_results

OPTIONS: dict[str, Any] = {"measures": "average_ce_pgd,average_ce", "attacks": "pgd,fgsm"}
N_VALUES = 3 * (2 * 3 + 2)  # models; clean, PGD and FGSM accuracy on two splits, two measures on one
N_KILLS = 12


def started(manifest: Path, images_file: Path, out: Path, workers: int = 1) -> subprocess.Popen[bytes]:
    named = [word for name, value in OPTIONS.items() for word in (f"--{name}", value)]
    command = [sys.executable, "-m", "measurebench", "run", str(manifest), "--dataset", f"arrays:{images_file}"]
    command += ["--out", str(out), "--shared", "--workers", str(workers), *named]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def lines(out: Path) -> Counter[Any]:
    """Return how often each value is in the journals."""
    found = [value for journal in ResultsFolder(out).record_journals for value in journal.read()]
    return Counter(Record.from_json(value, "test").key for value in found)


def numbers(folder: Path) -> dict[Any, Any]:
    return {r.key: (r.status, r.value, r.standard_error, r.n, r.reason) for r in read_records(folder)}


@pytest.fixture(scope="module")
def whole(manifest: Path, images_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    run(str(manifest), f"arrays:{images_file}", out, **OPTIONS, workers=1)
    assert len(read_records(out)) == N_VALUES
    return out


def test_a_shared_run_gives_the_table_of_a_run_that_has_its_folder_alone(
    whole: Path, manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    out, shared = tmp_path / "out", OPTIONS | {"workers": 1, "shared": True}
    first = run(f"{manifest}", f"arrays:{images_file}", out, **shared, shard="1/2")
    second = run(f"{manifest}", f"arrays:{images_file}", out, **shared)
    assert first.n_recorded + second.n_recorded == N_VALUES
    assert second.n_resumed == first.n_recorded
    assert numbers(out) == numbers(whole)
    assert read_table(out).equals(read_table(whole))
    assert verify_results(out) == []
    assert not (out / "claims").exists()
    with ResultsFolder.writing(out, "0"), pytest.raises(BadInputError, match="no other run is writing to"):
        run(str(manifest), f"arrays:{images_file}", out, **shared)
    assert numbers(out) == numbers(whole)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_processes_killed_at_any_moment_lose_and_double_nothing(
    whole: Path, manifest: Path, images_file: Path, tmp_path: Path
) -> None:
    out, generator = tmp_path / "out", random.Random(0)
    running = [started(manifest, images_file, out, workers) for workers in (1, 2)]
    for kill in range(N_KILLS):
        while not out.is_dir() or sum(lines(out).values()) < kill * N_VALUES / N_KILLS:
            time.sleep(0.02)
        time.sleep(generator.uniform(0, 0.3))
        victim = running.pop(generator.randrange(len(running)))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        running.append(started(manifest, images_file, out, generator.choice((1, 2))))
    for process in running:
        assert process.wait(timeout=600) == 0
    assert set(lines(out).values()) == {1}
    assert len(lines(out)) == N_VALUES
    assert numbers(out) == numbers(whole)
    harmless = ("without an end of line", "left over from a killed process")
    assert [fault for fault in verify_results(out) if not any(what in fault.what for what in harmless)] == []
