"""Joins a running Ray cluster, or starts one on this machine for the time of a run."""

import logging
import os
import socket
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from measurebench.compute.devices import n_workers
from measurebench.core.errors import BadInputError, MeasurebenchError
from measurebench.engine.options import RunOptions

__all__ = ["RayCluster", "join"]

# What a local Ray may hold in shared memory: the images of a run and files on their way. The rest goes to the disk.
_OBJECT_STORE_BYTES = 512 * 2**20
_KNOCK_SECONDS = 10.0
_STARTS = 3  # Ray gives itself 30 s to start, which a busy machine may exceed


@dataclass(frozen=True)
class RayCluster:
    """A cluster that this process has joined: ``device`` is where its workers compute, ``place`` what each occupies.

    ``is_ours`` says that this run joined or started it, and leaves or ends it; the process may have joined it before.
    """

    ray: Any
    options: RunOptions
    device: str
    is_ours: bool

    @property
    def place(self) -> dict[str, float]:
        """What one worker occupies, in the words of Ray."""
        return {"num_cpus": 1, "num_gpus": 0 if self.device == "cpu" else self.options.gpus_per_worker}

    def n_places(self) -> int:
        """Return for how many workers the nodes that are there now have room, or how many were asked for."""
        if self.options.workers != "auto":
            return self.options.workers
        there = self.ray.cluster_resources()
        if self.device == "cpu":
            return int(there.get("CPU", 0))
        return int(there.get("GPU", 0) / self.options.gpus_per_worker + 1e-9)

    def name_of(self, node: str, host: str) -> str:
        """Return how a node is called: as it was named when it was started, else by its host."""
        for known in self.ray.nodes():
            if known["NodeID"] == node and (name := known["NodeName"]) != known["NodeManagerAddress"]:
                return str(name)
        return host

    def is_alive(self, node: str) -> bool:
        """Tell whether a node is part of the cluster now."""
        return any(known["NodeID"] == node and known["Alive"] for known in self.ray.nodes())

    def leave(self) -> None:
        """Leave the cluster where this run joined it; end it where this run started it."""
        if self.is_ours:
            self.ray.shutdown()


def join(options: RunOptions) -> RayCluster:
    """Join the cluster at ``options.address``, or start one on this machine where none is named.

    A process that has joined a cluster already stays in it. Raises BadInputError where Ray is not installed, no
    cluster answers, or its nodes have no place for a worker.
    """
    ray = _ray()
    is_ours = not ray.is_initialized()
    if is_ours:
        _start(ray, options)
    cluster = RayCluster(ray, options, _device(ray, options), is_ours)
    if cluster.n_places() < 1:
        what = "cores" if cluster.device == "cpu" else "GPUs"
        cluster.leave()
        hint = "start nodes first, or say with --workers N for how many to wait"
        raise BadInputError("--executor ray", f"a cluster with {what}", "nodes without any", hint)
    return cluster


def _ray() -> Any:
    # No usage statistics unless the user wants them, and no advice on Ray's own settings in the output of a run.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if find_spec("ray") is None:
        hint = 'install it with: pip install "measurebench[ray]"'
        raise BadInputError("--executor ray", "the package ray", "an environment without it", hint)
    import ray

    return ray


def _start(ray: Any, options: RunOptions) -> None:
    """Join or start a cluster, with everything that Ray logs kept out of the terminal.

    Raises BadInputError where no cluster answers.
    """
    _silence(ray)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if options.address is None:
        _start_here(ray, n_workers(options.workers, "cpu", n_tasks=10**6), quiet)
        return
    try:
        _knock(options.address)
        ray.init(address=options.address, **quiet)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split())[:200]
        # Recent releases of Ray let only those in who have the cluster's token, and do not always say so.
        hint = (
            "start one with ray start --head, or leave --address out; if it asks for a token, set RAY_AUTH_MODE=token"
        )
        raise BadInputError("--address", "the address of a running Ray cluster", options.address, hint) from (
            ConnectionError(reason)
        )


def _knock(address: str) -> None:
    """Raise OSError where nobody answers at HOST:PORT: Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if host and "/" not in address and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()


def _start_here(ray: Any, cores: int, quiet: dict[str, Any]) -> None:
    """Start a cluster of this machine alone. Raises MeasurebenchError where it does not start."""
    asked = {"num_cpus": cores, "include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    for tries_left in reversed(range(_STARTS)):
        try:
            ray.init(address="local", **asked, **quiet)
            return
        except Exception as error:  # Ray has no class of its own for it
            ray.shutdown()
            if not tries_left:
                reason = " ".join(str(error).split())[:300]
                raise MeasurebenchError(f"Ray does not start on this machine: {reason}") from error


def _silence(ray: Any) -> None:
    """Keep what Ray prints of lost workers and nodes off the terminal: the run says itself what it means for it."""
    worker: Any = getattr(getattr(ray, "_private", None), "worker", None)
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = _to_log


def _to_log(data: dict[str, Any], **_more: Any) -> None:
    logging.getLogger("measurebench.ray").info("%s", "\n".join(map(str, data.get("lines", ()))))


def _device(ray: Any, options: RunOptions) -> str:
    """Return where workers compute. Each sees only the GPU that Ray gives it, which is its first.

    Raises BadInputError for the number of a GPU, which means nothing on several machines.
    """
    if options.device.startswith("cuda:"):
        hint = "Ray gives each worker a GPU of its own"
        raise BadInputError("--device", "auto, cpu or cuda with --executor ray", options.device, hint)
    if options.device == "auto":
        return "auto" if ray.cluster_resources().get("GPU", 0) else "cpu"
    return options.device
