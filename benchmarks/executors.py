"""How much faster two workers are than one, on this machine and on a Ray of this machine; writes results/executors.md.

Run as ``python -m benchmarks.executors`` on a machine with two idle cores. The efficiency of n workers is the time of
one worker over n times theirs. The clock runs from the first record to the last: what workers take to start does not
count, and is printed apart. On a machine that has other work, the page says so: its times tell nothing then.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from benchmarks.machine import processor
from measurebench.store.folder import read_records

RESULT = Path(__file__).parent / "results" / "executors.md"
STUDY = ("--dataset", "digits", "--attacks", "pgd", "--measures", "core")
# Ray's workers are nice: beside other work they would get less than the workers that they are compared with.
ENVIRONMENT = os.environ | {"RAY_worker_niceness": "0"}
IDLE_LOAD = 0.5  # processes that want a core before the first run; more of them share the cores with ours


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default="digits:*")
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--executors", nargs="+", default=["local", "ray"])
    asked = parser.parse_args()
    sizes = ("--train-examples", str(asked.examples), "--test-examples", str(asked.examples))
    load, rows, alone = os.getloadavg()[0], list[str](), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for executor, workers in (("local", 1), *((name, 2) for name in asked.executors)):
            out = Path(folder) / f"{executor}-{workers}"
            words = (*STUDY, *sizes, "--executor", executor, "--workers", str(workers), "--out", str(out))
            start, used = time.perf_counter(), processor_seconds()
            subprocess.run(
                [sys.executable, "-m", "measurebench", "run", asked.models, *words], check=True, env=ENVIRONMENT
            )
            whole, used = time.perf_counter() - start, processor_seconds() - used
            measuring = seconds_measuring(out)
            alone = alone or measuring
            efficiency = alone / (workers * measuring)
            cells = f"{whole - measuring:.0f} | {measuring:.0f} | {used:.0f} | {efficiency:.2f}"
            rows.append(f"| {executor} | {workers} | {cells} | {os.getloadavg()[0]:.1f} |")
            print(rows[-1], flush=True)
    RESULT.write_text(page(rows, load, f"`{asked.models}` on {asked.examples} examples of each split"))


def processor_seconds() -> float:
    """Return the processor time of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds_measuring(out: Path) -> float:
    """Return the seconds from the first record of a folder to the last."""
    times = sorted(datetime.fromisoformat(record.time).timestamp() for record in read_records(out))
    return times[-1] - times[0]


def page(rows: list[str], load: float, what: str) -> str:
    """Return the page of results; ``load`` is that of the machine before the first run."""
    busy = [
        f"**These times tell nothing of the executors.** Before the first run {load:.0f} other processes wanted the",
        f"{os.cpu_count()} cores, which our workers had to share with them. Measure again on an idle machine.",
        "",
    ]
    return "\n".join(
        [
            "# One worker and two",
            "",
            f"The core measures of {what}. Written by `python -m benchmarks.executors`.",
            "The efficiency of two workers is the time of one worker over twice theirs, from the first record to the",
            "last. The goal is 0.9. Processor seconds are those of all processes that were started, without Ray's own",
            "where it does not wait for them. The load is that of the machine at the end of the row's run.",
            "",
            *(busy if load > IDLE_LOAD else []),
            "| executor | workers | start (s) | measuring (s) | processor s | efficiency | load |",
            "|---|---:|---:|---:|---:|---:|---:|",
            *rows,
            "",
            f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
