"""What a GPU makes of this package, in one call of nine minutes: writes gpu.json and gpu.md after every step.

Run as ``python -m benchmarks.gpu --out DIR [--wheels DIR] [--images FILE.npz]``. ``--rehearse`` runs every step in tiny
sizes on the CPU. ``--images`` has the keys x_train, y_train, x_test and y_test, as ``arrays:FILE.npz`` does; without it
the digits take their place.

The working tree is enough where its dependencies are installed. ``--fetch DIR`` downloads the wheels of ``WHEELS``, for
the Python that runs it; ``--wheels DIR`` installs what is there, without dependencies, into a temporary folder.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 540.0  # the call ends after ten minutes; one is for the start
REHEARSAL_SECONDS = 3600.0  # a processor that other jobs keep busy may need twice the call's time
# What the package needs of a machine that has torch, torchvision, scipy, pandas, pyarrow, statsmodels, scikit-learn,
# safetensors, timm, typer and pytest, and no network: 47 MB, of which pyautoattack is 42.
WHEELS = (
    "annotated-types",
    "markdown-it-py",
    "mdurl",
    "platformdirs",
    "pyautoattack==0.2.0",
    "pydantic",
    "pygments",
    "rich",
    "typing-inspection",
)


@dataclass
class Result:
    """What one step gave: ``status`` is done, failed, skipped, running or cut off."""

    step: str
    status: str = "running"
    seconds: float = 0.0
    values: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass
class Report:
    """All results so far, written whole after every change."""

    out: Path
    results: list[Result] = field(default_factory=list)
    lock: Any = field(default_factory=threading.RLock, repr=False)

    def write(self) -> None:
        with self.lock:
            _write(self.out / "gpu.json", json.dumps([asdict(result) for result in self.results], indent=1) + "\n")
            _write(self.out / "gpu.md", self.markdown())

    def markdown(self) -> str:
        lines = ["| step | status | seconds | value |", "| --- | --- | --- | --- |"]
        for result in self.results:
            head = f"| {result.step} | {result.status} | {result.seconds:.1f} | {result.reason.replace('|', '/')} |"
            lines.append(head)
            lines += [f"| | {name} | | {_text(value)} |" for name, value in result.values.items()]
        return "\n".join(lines) + "\n"

    def cut_off(self) -> None:
        """Say what ran when time was over, and end the process: a hanging kernel cannot be interrupted."""
        with self.lock:
            for result in self.results:
                if result.status == "running":
                    result.status, result.reason = "cut off", "time was over"
            self.write()
        os._exit(3)


def _write(path: Path, text: str) -> None:
    scratch = path.with_suffix(".part")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return (json.dumps(value) if isinstance(value, dict | list) else str(value)).replace("|", "/")


def fetch(wheels: Path) -> None:
    """Download the wheels that travel along; pydantic names the one release of pydantic-core that it works with."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", "-d", str(wheels)]
    subprocess.run([*command, "--no-deps", *WHEELS], check=True)
    subprocess.run([*command, "pydantic"], check=True)  # with its dependencies


def install(wheels: Path | None) -> None:
    """Install carried wheels as they are; subprocesses see them too."""
    here = str(Path(__file__).parents[1])
    places = [here]
    if wheels is not None:
        target = tempfile.mkdtemp(prefix="wheels-")
        files = sorted(str(path) for path in wheels.glob("*.whl"))
        options = ["--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--target", target]
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", *options, *files], check=True)
        sys.path.insert(0, target)
        places.append(target)
    os.environ["PYTHONPATH"] = os.pathsep.join([*places, *filter(None, [os.environ.get("PYTHONPATH")])])


def prepared(chosen: argparse.Namespace, report: Report) -> tuple[Any, dict[str, Any]] | None:
    """Return the bench and its steps; where something is missing, say what in the report."""
    result = Result("start")
    report.results.append(result)
    report.write()
    started = time.perf_counter()
    try:
        install(chosen.wheels)
        from benchmarks.gpu_steps import STEPS, Bench

        found = Bench.prepared(chosen.rehearse, chosen.images, chosen.out), STEPS
    except (Exception, SystemExit) as error:  # noqa: BLE001 - what comes back must say why there is nothing else
        result.status, result.reason = "failed", f"{type(error).__name__}: {error}"
        traceback.print_exc()
        found = None
    else:
        result.status = "done"
    result.seconds = time.perf_counter() - started
    report.write()
    return found


def run_step(name: str, function: Any, bench: Any, report: Report) -> None:
    """Run one step; whatever it raises, what it measured until then is kept and the next step goes on."""
    result = Result(name)
    report.results.append(result)
    report.write()
    started = time.perf_counter()

    def note(label: str, value: Any) -> None:
        with report.lock:
            result.values[label] = value
            result.seconds = time.perf_counter() - started
            report.write()

    try:
        function(bench, note)
        result.status = "done"
    except bench.not_here as error:
        result.status, result.reason = "skipped", str(error)
    except Exception as error:  # noqa: BLE001 - the only call must not end with one step
        result.status, result.reason = "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        traceback.print_exc()
    result.seconds = time.perf_counter() - started
    report.write()
    print(f"{name}: {result.status} in {result.seconds:.1f} s {result.reason}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--fetch", type=Path, help="download wheels into a folder, and do nothing else")
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--only", help="names of steps, separated by commas")
    parser.add_argument("--seconds", type=float, help="when to end: 540, or 3600 for a rehearsal")
    chosen = parser.parse_args(arguments)
    if chosen.seconds is None:
        chosen.seconds = REHEARSAL_SECONDS if chosen.rehearse else SECONDS
    if chosen.fetch is not None:
        fetch(chosen.fetch)
        return 0
    if chosen.out is None:
        parser.error("--out is missing")
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.rehearse:  # before torch is imported: threads that share a busy processor wait for one another
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    started, report = time.perf_counter(), Report(chosen.out)
    watchdog = threading.Timer(chosen.seconds, report.cut_off)
    watchdog.daemon = True
    watchdog.start()
    try:
        if (found := prepared(chosen, report)) is not None:
            run_steps(*found, chosen, report, started)
    finally:
        watchdog.cancel()
    return 1 if any(result.status == "failed" for result in report.results) else 0


def run_steps(bench: Any, steps: dict[str, Any], chosen: argparse.Namespace, report: Report, started: float) -> None:
    """Run all steps that were chosen and that fit into the time that is left."""
    for name, (seconds, function) in steps.items():
        if chosen.only and name not in chosen.only.split(","):
            continue
        left = chosen.seconds - (time.perf_counter() - started)
        if left < seconds and not chosen.rehearse:
            report.results.append(Result(name, "skipped", reason=f"{left:.0f} s left, {seconds} s wanted"))
            report.write()
            continue
        bench.deadline = time.perf_counter() + seconds
        run_step(name, function, bench, report)


if __name__ == "__main__":
    sys.exit(main())
