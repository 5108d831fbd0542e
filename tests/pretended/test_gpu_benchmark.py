"""The script for the one call on a GPU machine: rehearsed here, so that the call is not spent on a typing error."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu
from benchmarks.gpu import Report, Result, main, run_step
from benchmarks.gpu_steps import STEPS, TINY, Bench, NotHereError, Sizes, _ended
from tests.pretended import pretended_gpu


def rehearsed(out: Path, *options: str) -> dict[str, dict[str, Any]]:
    """Return the results of a rehearsal by step."""
    assert main(["--rehearse", "--out", str(out), *options]) == 0
    return {result["step"]: result for result in json.loads((out / "gpu.json").read_text())}


def test_quick_steps_are_done_in_a_rehearsal_and_written(tmp_path: Path) -> None:
    found = rehearsed(tmp_path, "--only", "machine,training,stock,engine")
    assert [found[name]["status"] for name in ("machine", "training", "stock")] == ["done"] * 3
    assert found["engine"]["status"] in ("done", "skipped")
    assert found["machine"]["values"]["fp32 TFLOP/s"] > 0
    assert found["training"]["values"]["epochs"] == 1
    assert found["stock"]["values"]["verdicts that differ by seed"] >= 0
    table = (tmp_path / "gpu.md").read_text()
    assert all(f"| {name} | {result['status']} |" in table for name, result in found.items())


@pytest.mark.slow
def test_all_steps_are_done_in_a_rehearsal(tmp_path: Path) -> None:
    found = rehearsed(tmp_path)
    assert list(found) == ["start", *STEPS]
    assert all(result["status"] in ("done", "skipped") for result in found.values())
    assert found["measures"]["values"]["values compared"] == 20
    assert set(found["measures"]["values"]["largest relative differences"].values()) == {0.0}
    assert found["tests"]["values"]["exit status"] == 0
    assert found["failures"]["values"]["exit status"] == 0
    small = found["small networks"]["values"]
    assert [small[f"exit status, {n} workers"] for n in (1, 4)] == [0, 0]
    assert small["records, 1 workers"] == small["records, 4 workers"] > 0
    assert found["failures"]["values"]["out of memory: batch sizes tried"] == [8, 4, 2, 2, 2, 2, 8, 4, 2]


def test_the_steps_fit_into_the_time_of_the_call() -> None:
    assert sum(seconds for seconds, _ in STEPS.values()) <= gpu.SECONDS
    assert Sizes().train_seconds < STEPS["training"][0]


def test_what_a_step_noted_before_it_failed_is_kept(tmp_path: Path) -> None:
    report = Report(tmp_path)

    def failing(_bench: Any, note: Any) -> None:
        note("half", 1)
        raise ValueError("no | more")

    def missing(_bench: Any, _note: Any) -> None:
        raise NotHereError("not here")

    run_step("first", failing, Bench, report)
    run_step("second", missing, Bench, report)
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert [(r["status"], r["values"], r["reason"]) for r in written] == [
        ("failed", {"half": 1}, "ValueError: no | more"),
        ("skipped", {}, "not here"),
    ]


def test_what_is_missing_at_the_start_is_written_and_no_step_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> None:
        raise ModuleNotFoundError("No module named 'pydantic'")

    monkeypatch.setattr(Bench, "prepared", missing)
    assert main(["--rehearse", "--out", str(tmp_path)]) == 1
    (only,) = json.loads((tmp_path / "gpu.json").read_text())
    assert (only["step"], only["status"]) == ("start", "failed")
    assert only["reason"] == "ModuleNotFoundError: No module named 'pydantic'"


@pytest.mark.parametrize(
    ("options", "seconds"), [(["--rehearse"], 3600), ([], 540), (["--rehearse", "--seconds", "7"], 7)]
)
def test_a_rehearsal_on_a_busy_processor_is_not_cut_off_after_the_time_of_the_call(
    options: list[str], seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    class Timer:
        def __init__(self, limit: float, _function: Any) -> None:
            given.append(limit)

        def start(self) -> None: ...

        def cancel(self) -> None: ...

    monkeypatch.setattr(gpu.threading, "Timer", Timer)
    monkeypatch.setattr(gpu, "prepared", lambda *_: None)
    assert main(["--out", str(tmp_path), *options]) == 0
    assert given == [seconds]


def test_a_process_that_takes_too_long_is_killed_and_what_it_wrote_is_kept() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        assert _ended(process, 0.1) == "killed after 0 s"
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(4)"]) as process:
        assert _ended(process, None) == 4


def test_a_step_that_runs_when_time_is_over_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(gpu.os, "_exit", ended.append)
    report = Report(tmp_path, [Result("first", "done", 1.0, {"a": 1}), Result("second", values={"b": 2.0})])
    report.cut_off()
    assert ended == [3]
    assert [r["status"] for r in json.loads((tmp_path / "gpu.json").read_text())] == ["done", "cut off"]
    assert "| | b | | 2 |" in (tmp_path / "gpu.md").read_text()


@pytest.mark.parametrize("name", ["machine", "measures", "training", "stock", "engine", "wide network"])
def test_a_step_runs_on_the_pretended_gpu(name: str, tmp_path: Path) -> None:
    plain = Bench.prepared(True, None, tmp_path)
    report = Report(tmp_path)
    with pretended_gpu():
        bench = replace(plain, device="cuda:0", sizes=replace(TINY, measures=4), deadline=float("inf"))
        run_step(name, STEPS[name][1], bench, report)
    assert report.results[0].status in ("done", "skipped"), report.results[0].reason
