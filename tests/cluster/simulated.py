"""A Ray cluster whose nodes are processes of this machine, with pretended GPUs, and a study to measure on it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from measurebench.store.folder import ResultsFolder, read_records
from measurebench.store.tables import read_table

__all__ = [
    "SimulatedCluster",
    "alive",
    "command",
    "descendants",
    "differences",
    "doubled",
    "idle_seconds",
    "n_lines",
    "processes",
    "start",
    "until",
]

# 26 models with six pairs each: short enough to be measured many times over, long enough to be killed in the middle.
STUDY = (
    *("digits:*", "--dataset", "digits", "--attacks", "pgd", "--measures", "average_ce_pgd,path_norm"),
    *("--train-examples", "40", "--test-examples", "40"),
)
_SAMPLE_SECONDS = 0.01  # of work, which tell how busy the machine is
_NODE_SECONDS = 30.0  # of an idle machine: a node that has not appeared by then will not
_TRIES = 5


class SimulatedCluster:
    """A head without places for workers, and nodes with one core and one pretended GPU each, called node-1, node-2 ...

    Torch sees no GPU there, so that workers measure on the CPU.
    """

    def __init__(self, n_nodes: int) -> None:
        # Ray's workers are nice: they would hardly run where the machine has other work.
        os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"})
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 128 * 2**20}
        self._cluster: Any = _patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
        self.nodes: dict[str, Any] = {}
        self._n_named = 0
        for _ in range(n_nodes):
            self.add()

    @property
    def address(self) -> str:
        """Where a driver joins."""
        return str(self._cluster.address)

    def add(self) -> str:
        """Let a node join; return its name."""
        self._n_named += 1
        name = f"node-{self._n_named}"
        resources = {"num_cpus": 1, "num_gpus": 1, "object_store_memory": 128 * 2**20}
        self.nodes[name] = _patiently(lambda: self._cluster.add_node(wait=False, node_name=name, **resources))
        return name

    def lose(self, name: str) -> None:
        """Kill a node as a power cut would."""
        self._cluster.remove_node(self.nodes.pop(name), allow_graceful=False)

    def workers(self) -> list[int]:
        """Return the processes of all actors on all nodes, also on those that were slow to join."""
        found = dict(processes())
        raylets = {pid for pid, (_, words) in found.items() if _is_raylet(words, self.address)}
        return sorted(
            pid for pid, (parent, words) in found.items() if parent in raylets and words.startswith(b"ray::RayWorker")
        )

    def close(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()


def _patiently(make: Callable[[], Any]) -> Any:
    """Return what is made, a node, after some tries: on a busy machine its processes may not find each other in time.

    Ray gives it 30 s to appear, which such a machine may exceed. So the question whether it is there is answered late
    rather than with no.
    """
    from ray._private import services
    from ray._private.node import Node

    ask, begun = services.get_node, list[Any]()

    def noting(begin: Callable[[Any], None]) -> Callable[[Any], None]:
        def beginning(node: Any) -> None:
            begun.append(node)
            begin(node)

        return beginning

    def found(*place: Any) -> Any:
        waited = 0.0
        while True:
            try:
                return ask(*place)
            except RuntimeError:
                if waited > _NODE_SECONDS or begun[-1].dead_processes():
                    raise
                waited += idle_seconds(0.5)

    with (
        patch.object(services, "get_node", found),
        patch.object(Node, "start_head_processes", noting(Node.start_head_processes)),
        patch.object(Node, "start_ray_processes", noting(Node.start_ray_processes)),
    ):
        for tries_left in reversed(range(_TRIES)):
            try:
                return make()
            except Exception:  # Ray has no class of its own for it
                for node in begun[-1:]:
                    node.kill_all_processes(check_alive=False, allow_graceful=False)
                if not tries_left:
                    raise
    raise AssertionError("unreachable")


def processes() -> Iterator[tuple[int, tuple[int, bytes]]]:
    """Yield each process of this machine with its parent and its command line."""
    for place in Path("/proc").iterdir():
        if not place.name.isdigit():
            continue
        try:
            parent = (place / "stat").read_text().rpartition(")")[2].split()[1]
            yield int(place.name), (int(parent), (place / "cmdline").read_bytes())
        except (OSError, IndexError):  # it has ended meanwhile
            continue


def _is_raylet(words: bytes, address: str) -> bool:
    return words.partition(b"\0")[0].endswith(b"/raylet") and address.encode() in words


def command(out: Path, *more: str) -> list[str]:
    """Return the command line that measures the study."""
    return [sys.executable, "-m", "measurebench", "run", *STUDY, "--out", str(out), *more]


def start(out: Path, log: Path, *more: str) -> "subprocess.Popen[bytes]":
    """Start to measure the study; what is printed goes to ``log``."""
    with log.open("ab") as told:
        return subprocess.Popen(command(out, *more), stdout=told, stderr=told, start_new_session=True)


def numbers(folder: Path) -> dict[Any, Any]:
    """Return what must not depend on how a run went, bit for bit."""
    return {r.key: (r.status, r.value, r.standard_error, r.reason, r.n) for r in read_records(folder)}


def verdicts(folder: Path) -> dict[str, bytes]:
    """Return the files of verdicts by their names."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted((folder / "examples").rglob("*.npz"))}


def differences(folder: Path, whole: Path) -> list[str]:
    """Return in words how a folder differs from that of an undisturbed run; nothing where it does not."""
    there, expected = numbers(folder), numbers(whole)
    found = [f"lost: {key}" for key in expected.keys() - there.keys()]
    found += [f"strange: {key}" for key in there.keys() - expected.keys()]
    found += [
        f"{key}: {there[key]}, not {expected[key]}"
        for key in there.keys() & expected.keys()
        if there[key] != expected[key]
    ]
    found += [] if read_table(folder).equals(read_table(whole)) else ["the tables differ"]
    found += [] if verdicts(folder) == verdicts(whole) else ["the verdicts differ"]
    return found


def doubled(folder: Path) -> int:
    """Return how many lines of the journal repeat an earlier one's question."""
    lines = ResultsFolder.open(folder).journals[0].read()
    keys = [(line["model_id"], line["measure"], line["split"], line["config_digest"]) for line in lines]
    return len(keys) - len(set(keys))


def n_lines(folder: Path) -> int:
    """Return how many records a folder has."""
    path = folder / "records.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def descendants(pid: int) -> set[int]:
    """Return the processes that a process started, and those that they started."""
    parents = {child: parent for child, (parent, _) in processes()}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pids: set[int]) -> set[int]:
    """Return those of some processes that still run."""
    return {pid for pid, (_, words) in processes() if pid in pids and words}


def idle_seconds(pause: float) -> float:
    """Wait, and return how long that was by the work that could be done: on a busy machine such seconds pass slowly."""
    time.sleep(pause)
    start, used = time.monotonic(), time.process_time()
    while time.process_time() - used < _SAMPLE_SECONDS:
        pass
    waited = time.monotonic() - start
    return pause * min(1.0, _SAMPLE_SECONDS / waited) + _SAMPLE_SECONDS


def until(condition: Callable[[], Any], seconds: float, what: str) -> None:
    """Wait for a condition, so many seconds of an idle machine. Raises TimeoutError, which says what it waited for."""
    waited = 0.0
    while not condition():
        if waited > seconds:
            raise TimeoutError(what)
        waited += idle_seconds(0.2)
