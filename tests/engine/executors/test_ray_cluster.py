"""What the Ray executor decides before any worker starts, with a pretended Ray; the real one has its own tests."""

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from measurebench.core.errors import BadInputError
from measurebench.engine.executors import measure_queue, ray_cluster
from measurebench.engine.executors.ray_cluster import RayCluster, join
from measurebench.engine.options import RunOptions
from measurebench.engine.scheduling.queue import BlockQueue

NODES = [
    {"NodeID": "a", "NodeName": "gpu-7", "NodeManagerAddress": "10.0.0.7", "Alive": True},
    {"NodeID": "b", "NodeName": "10.0.0.8", "NodeManagerAddress": "10.0.0.8", "Alive": False},
]


def pretended(**resources: float) -> Any:
    return SimpleNamespace(
        cluster_resources=lambda: resources, nodes=lambda: NODES, is_initialized=lambda: True, shutdown=lambda: None
    )


def options(**given: Any) -> RunOptions:
    return RunOptions("digits", executor="ray", **given)


@pytest.mark.parametrize(
    ("given", "resources", "device", "n_places", "place"),
    [
        ({}, {"CPU": 6}, "cpu", 6, {"num_cpus": 1, "num_gpus": 0}),
        ({}, {"CPU": 6, "GPU": 2}, "auto", 2, {"num_cpus": 1, "num_gpus": 1.0}),
        ({"device": "cpu"}, {"CPU": 6, "GPU": 2}, "cpu", 6, {"num_cpus": 1, "num_gpus": 0}),
        ({"gpus_per_worker": 0.5}, {"CPU": 6, "GPU": 2}, "auto", 4, {"num_cpus": 1, "num_gpus": 0.5}),
        ({"gpus_per_worker": 0.1}, {"CPU": 6, "GPU": 3}, "auto", 30, {"num_cpus": 1, "num_gpus": 0.1}),
        ({"gpus_per_worker": 2}, {"CPU": 6, "GPU": 5}, "auto", 2, {"num_cpus": 1, "num_gpus": 2.0}),
        ({"workers": 7}, {"CPU": 2}, "cpu", 7, {"num_cpus": 1, "num_gpus": 0}),
    ],
)
def test_there_is_one_worker_for_each_gpu_or_core_unless_asked_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: Any, resources: Any, device: str, n_places: int, place: Any
) -> None:
    monkeypatch.setattr(ray_cluster, "_ray", lambda: pretended(**resources))
    cluster = join(options(**given))
    assert (cluster.device, cluster.n_places(), cluster.place) == (device, n_places, place)
    assert not cluster.is_ours


def test_a_cluster_without_a_place_for_a_worker_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "_ray", lambda: pretended(CPU=4))
    with pytest.raises(BadInputError, match="expected a cluster with GPUs, got nodes without any"):
        join(options(device="cuda"))


def test_the_number_of_a_gpu_means_nothing_on_several_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "_ray", lambda: pretended(CPU=4, GPU=1))
    with pytest.raises(BadInputError, match="--device: expected auto, cpu or cuda with --executor ray, got cuda:1"):
        join(options(device="cuda:1"))


def test_a_node_is_called_as_it_was_named_else_by_its_host() -> None:
    cluster = RayCluster(pretended(), options(), "cpu", is_ours=False)
    assert cluster.name_of("a", "host") == "gpu-7"
    assert cluster.name_of("b", "host") == "host"
    assert cluster.name_of("c", "host") == "host"
    assert [cluster.is_alive(node) for node in "abc"] == [True, False, False]


def test_an_address_at_which_nobody_listens_is_told_before_ray_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # free once the server is closed
    ray = pretended(CPU=2)
    ray.is_initialized, ray.exceptions = (lambda: False), SimpleNamespace(RayError=RuntimeError)
    ray.init = lambda **_: pytest.fail("Ray is asked, which waits for minutes")
    monkeypatch.setattr(ray_cluster, "_ray", lambda: ray)
    with pytest.raises(BadInputError, match=f"the address of a running Ray cluster, got 127.0.0.1:{port}"):
        join(options(address=f"127.0.0.1:{port}"))


def test_without_ray_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "find_spec", lambda _name: None)
    with pytest.raises(BadInputError, match=r'pip install "measurebench\[ray\]"'):
        join(options())


@pytest.mark.parametrize("given", [{"address": "auto"}, {"gpus_per_worker": 0.5}])
def test_options_of_a_cluster_are_refused_without_one(given: dict[str, Any], tmp_path: Path) -> None:
    data: Any = None
    with pytest.raises(BadInputError, match="expected --executor ray beside it, got the local executor"):
        list(measure_queue(BlockQueue([]), 0, RunOptions("digits", **given), data, tmp_path))
