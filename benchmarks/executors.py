"""How much faster two workers are than one, on this machine and on a Ray of this machine; prints a table.

Run as ``python -m benchmarks.executors`` on a machine with two idle cores. The efficiency of n workers is the time of
one worker over n times theirs. The clock runs from the first record to the last: what workers take to start does not
count, and is printed apart.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from measurebench.store.folder import read_records

STUDY = ("digits:*", "--dataset", "digits", "--attacks", "pgd", "--measures", "core")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--executors", nargs="+", default=["local", "ray"])
    asked = parser.parse_args()
    sizes = ("--train-examples", str(asked.examples), "--test-examples", str(asked.examples))
    print("| executor | workers | start (s) | measuring (s) | efficiency |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        alone = 0.0
        for executor, workers in (("local", 1), *((name, 2) for name in asked.executors)):
            out = Path(folder) / f"{executor}-{workers}"
            words = ("--executor", executor, "--workers", str(workers), "--out", str(out))
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "measurebench", "run", *STUDY, *sizes, *words], check=True)
            whole = time.perf_counter() - start
            measuring = seconds_measuring(out)
            alone = alone or measuring
            efficiency = alone / (workers * measuring)
            print(
                f"| {executor} | {workers} | {whole - measuring:.0f} | {measuring:.0f} | {efficiency:.2f} |", flush=True
            )


def seconds_measuring(out: Path) -> float:
    """Return the seconds from the first record of a folder to the last."""
    times = sorted(datetime.fromisoformat(record.time).timestamp() for record in read_records(out))
    return times[-1] - times[0]


if __name__ == "__main__":
    main()
