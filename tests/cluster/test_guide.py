"""The cluster guide, followed to the letter: three nodes on this machine, from the head to the page."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from tests.cluster.simulated import processes
from tests.docs.guides import DOCS, Block, blocks
from tests.docs.test_guides import environment, run

pytest.importorskip("ray", reason="needs the extra ray")
pytest.importorskip("submitit", reason="needs the extra slurm")
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

__all__ = ["environment"]

_PORT = (b":6399", b"=6399")


@pytest.fixture
def nodes_end() -> Iterator[None]:
    """End the nodes that the guide starts, and no others."""
    yield
    end_nodes()


def end_nodes() -> None:
    for pid, (_, words) in dict(processes()).items():
        if b"/ray/" in words and any(port in words for port in _PORT):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def follow(block: Block, folder: Path, environment: dict[str, str]) -> None:
    """Run a block as it is written; what starts nodes is tried again, since Ray gives a node no more than 30 s."""
    for tries_left in reversed(range(5 if "ray start" in block.body else 1)):
        try:
            run(block, folder, environment)
            return
        except (AssertionError, subprocess.TimeoutExpired):
            if not tries_left:
                raise
            if "--head" in block.body:
                end_nodes()


def test_the_cluster_guide_runs_as_it_is_written(tmp_path: Path, environment: dict[str, str], nodes_end: None) -> None:
    (tmp_path / "programs" / "ray").symlink_to(shutil.which("ray") or Path(sys.executable).with_name("ray"))
    assert "export RAY_AUTH_MODE=token" in (DOCS / "guides" / "cluster.md").read_text()
    environment = environment | {"RAY_AUTH_MODE": "token"}
    folder = tmp_path / "work"
    folder.mkdir()
    for block in blocks(DOCS / "guides" / "cluster.md"):
        if block.cluster:
            follow(block, folder, environment)
    page = (folder / "page" / "index.html").read_text()
    assert "machine node-1" in page
    assert "machine node-2" in page
    assert len(pd.read_csv(folder / "models.csv")) == 6
