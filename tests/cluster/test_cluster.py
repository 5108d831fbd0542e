"""A study on simulated nodes gives the numbers of a local run, whatever is lost, and leaves nothing behind."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from measurebench.cli.app import run_command_line
from measurebench.store.tables import read_provenance
from tests.cluster import simulated
from tests.cluster.simulated import SimulatedCluster, command, differences, doubled, n_lines, start, until

pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

FEW = ("digits:plain-*", "--dataset", "digits", "--attacks", "pgd,autoattack", "--measures", "average_ce_pgd,path_norm")
FEW = (*FEW, "--train-examples", "30", "--test-examples", "30", "--autoattack-examples", "10")


@pytest.fixture(scope="module", autouse=True)
def few() -> Iterator[None]:
    """Measure six models with an attack of several parts in place of the large study."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated, "STUDY", FEW)
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of an undisturbed run in one process."""
    out = tmp_path_factory.mktemp("whole") / "out"
    subprocess.run(command(out, "--workers", "1"), check=True)
    return out


@pytest.fixture(scope="module", params=[2, 4])
def cluster(request: pytest.FixtureRequest) -> Iterator[SimulatedCluster]:
    made = SimulatedCluster(request.param)
    yield made
    made.close()


def joining(cluster: SimulatedCluster) -> tuple[str, ...]:
    return "--executor", "ray", "--address", cluster.address


def test_tables_equal_those_of_a_local_run_and_the_page_names_the_nodes(
    cluster: SimulatedCluster, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    subprocess.run(command(out, *joining(cluster)), check=True)
    assert differences(out, whole) == []
    assert doubled(out) == 0
    machines = read_provenance(out)["machines"]
    assert len(machines) >= 2
    assert {machine["host"] for machine in machines} <= set(cluster.nodes)
    assert run_command_line(["report", str(out), "--out", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page" / "index.html").read_text()
    assert all(f"machine {machine['host']}" in page for machine in machines)


def test_a_lost_node_a_killed_actor_and_a_killed_driver_cost_no_record(
    cluster: SimulatedCluster, whole: Path, tmp_path: Path
) -> None:
    out, log = tmp_path / "out", tmp_path / "log.txt"
    driver = start(out, log, *joining(cluster))
    until(lambda: n_lines(out) > 2, 200, "the first records")
    cluster.lose(min(cluster.nodes))
    cluster.add()
    until(cluster.workers, 100, "a worker")
    os.kill(cluster.workers()[0], signal.SIGKILL)
    n_before = n_lines(out)
    until(lambda: n_lines(out) > n_before or driver.poll() is not None, 200, "a record after the losses")
    assert run_command_line(["status", str(out)]) == 0  # while the run goes on
    driver.kill()
    driver.wait()
    until(lambda: not cluster.workers(), 60, "workers end with their driver")
    subprocess.run(command(out, *joining(cluster)), check=True)
    assert differences(out, whole) == []
    assert doubled(out) == 0


def test_ctrl_c_leaves_no_process_and_the_next_run_goes_on(whole: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log.txt"
    driver = start(out, log, "--executor", "ray", "--workers", "2")
    until(lambda: n_lines(out) > 2, 200, "the first records")
    started = simulated.descendants(driver.pid)
    assert len(started) > 3
    os.killpg(driver.pid, signal.SIGINT)
    until(lambda: driver.poll() is not None, 60, "the run ends")
    assert driver.returncode == 130
    until(lambda: not simulated.alive(started), 60, "Ray's processes end")
    assert "Interrupted. Records are kept" in log.read_text()
    assert "Traceback" not in log.read_text()
    subprocess.run(command(out, "--executor", "ray", "--workers", "2"), check=True)
    assert differences(out, whole) == []


def test_a_killed_driver_takes_the_ray_that_it_started_with_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    driver = start(out, tmp_path / "log.txt", "--executor", "ray", "--workers", "2")
    until(lambda: n_lines(out) > 0, 200, "the first record")
    started = simulated.descendants(driver.pid)
    driver.kill()
    driver.wait()
    until(lambda: not simulated.alive(started), 60, "Ray's processes end")


def test_an_address_at_which_no_cluster_answers_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run(command(tmp_path / "out", "--executor", "ray", "--address", "127.0.0.1:1"), check=False)
    assert done.returncode == 2
    said = capfd.readouterr().err
    assert "--address: expected the address of a running Ray cluster, got 127.0.0.1:1" in said
    assert "Traceback" not in said
