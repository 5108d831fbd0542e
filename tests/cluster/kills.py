"""Kills actors, nodes and drivers of a study that is measured on a simulated Ray cluster, and counts what that cost.

``python -m tests.cluster.kills --kills 100 --nodes 2`` measures the study over and over, each time in a new folder,
until it has killed so often. Each result is compared with that of an undisturbed local run. The last line tells how
many records were lost, changed or doubled, and how many workers outlived their driver.
"""

import argparse
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.cluster.simulated import (
    SimulatedCluster,
    command,
    differences,
    doubled,
    idle_seconds,
    n_lines,
    start,
    until,
)

__all__ = ["main"]

# One of these at random. Nodes and drivers take longest to replace.
_KINDS = (*("actor",) * 7, "node", "driver")
# Seconds of an idle machine.
_PAUSE_SECONDS = 60.0
_PATIENCE_SECONDS = 300.0


class _Killer:
    """Measures the study on a cluster and kills meanwhile."""

    def __init__(self, cluster: SimulatedCluster, place: Path, seed: int) -> None:
        self.cluster, self.place, self.random = cluster, place, random.Random(seed)
        self.killed, self.orphans, self.retried = Counter[str](), 0, 0

    def round(self, out: Path, most: int) -> None:
        """Measure the study once, with at most this many kills in all from now on."""
        end = sum(self.killed.values()) + most
        driver, seen, waited = self._driver(out), 0, 0.0
        while driver.poll() is None:
            waited += idle_seconds(self.random.uniform(0.2, 3.0))  # to meet any phase of the work
            if (n := n_lines(out)) > seen:
                seen, waited = n, 0.0
            # Without a new record for a while the kills pause, so that the run comes to an end on any machine.
            if driver.poll() is None and waited <= _PAUSE_SECONDS and sum(self.killed.values()) < end:
                driver = self._kill(driver, out)
            if waited > _PATIENCE_SECONDS:
                driver.kill()
                raise TimeoutError(f"no record in {_PATIENCE_SECONDS:.0f} s")

        if driver.returncode == 1:
            # Whatever ended a worker three times at one model counts as the model's fault: a kill looks like a crash.
            self.retried += 1
            self._driver(out, "--retry-failed").wait(_PATIENCE_SECONDS)

    def _driver(self, out: Path, *more: str) -> "subprocess.Popen[bytes]":
        return start(out, self.place / "log.txt", "--executor", "ray", "--address", self.cluster.address, *more)

    def _kill(self, driver: "subprocess.Popen[bytes]", out: Path) -> "subprocess.Popen[bytes]":
        kind = self.random.choice(_KINDS)
        if kind == "actor":
            if not (workers := self.cluster.workers()):
                return driver
            with suppress(ProcessLookupError):
                os.kill(self.random.choice(workers), signal.SIGKILL)
        elif kind == "node":
            self.cluster.lose(self.random.choice(sorted(self.cluster.nodes)))
            self.cluster.add()
        else:
            driver.kill()
            driver.wait()
            with suppress(TimeoutError):
                until(lambda: not self.cluster.workers(), 30, "workers end with their driver")
            self.orphans += len(self.cluster.workers())
            driver = self._driver(out)
        self.killed[kind] += 1
        return driver


def main() -> int:
    """Kill as often as asked, print the counts, and return 1 where anything was lost, doubled or changed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no new round after this time")
    asked = parser.parse_args()
    begun, rounds, wrong, twice = time.monotonic(), 0, list[str](), 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        whole = place / "whole"
        subprocess.run(command(whole, "--workers", "1"), check=True, capture_output=True)
        cluster = SimulatedCluster(asked.nodes)
        killer = _Killer(cluster, place, asked.seed)
        try:
            while (left := asked.kills - sum(killer.killed.values())) > 0 and time.monotonic() - begun < asked.seconds:
                out, rounds = place / f"round-{rounds}", rounds + 1
                killer.round(out, left)
                found, repeats = differences(out, whole), doubled(out)
                wrong, twice = wrong + found, twice + repeats
                told = ", ".join(f"{n} {kind}" for kind, n in sorted(killer.killed.items()))
                seen = f"{len(found)} differences, {repeats} doubled, {killer.orphans} outlived their driver so far"
                print(f"round {rounds}: {n_lines(out)} records; killed so far: {told}; {seen}", flush=True)
                if found:
                    print("\n".join(found), (place / "log.txt").read_text()[-3000:], sep="\n", flush=True)
        finally:
            cluster.close()
    counts = Counter(killer.killed)
    print(
        f"{asked.nodes} nodes, {sum(counts.values())} kills ({counts['actor']} actors, {counts['node']} nodes, "
        f"{counts['driver']} drivers) in {rounds} rounds, {time.monotonic() - begun:.0f} s: "
        f"{len(wrong)} records lost or changed, {twice} doubled, {killer.orphans} workers outlived their driver; "
        f"{killer.retried} rounds needed --retry-failed, since three kills met one model"
    )
    return 1 if wrong or twice or killer.orphans else 0


if __name__ == "__main__":
    raise SystemExit(main())
