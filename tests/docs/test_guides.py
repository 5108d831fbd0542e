"""Every block of the guides that is marked for it runs as it is written, in an empty folder, on a CPU and offline."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from measurebench.core.origins import GROUPS
from tests.docs.guides import DOCS, Block, blocks, pages

ROOT = DOCS.parent
NAMES = [str(path.relative_to(DOCS)) for path in pages()]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which ``measurebench`` is the code under test, whatever is installed."""
    programs = tmp_path / "programs"
    programs.mkdir()
    command = programs / "measurebench"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m measurebench "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(paths),
        "MEASUREBENCH_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "120",
    }


def run(block: Block, folder: Path, environment: dict[str, str]) -> None:
    if block.file:
        (folder / block.file).write_text(block.body, encoding="utf-8")
        return
    program = ["sh", "-e", "-c"] if block.kind == "sh" else [sys.executable, "-c"]
    done = subprocess.run(
        [*program, block.body], cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, f"{block.body}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def run_page(name: str, environment: dict[str, str], folder: Path, slow: bool) -> None:
    folder.mkdir()
    for block in blocks(DOCS / name):
        if block.slow and not slow:
            return
        run(block, folder, environment)


@pytest.mark.parametrize("name", [name for name in NAMES if not blocks(DOCS / name)[0].slow])
def test_the_blocks_of_a_guide_up_to_the_first_slow_one_run_as_written(
    name: str, environment: dict[str, str], tmp_path: Path
) -> None:
    run_page(name, environment, tmp_path / "work", slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if any(block.slow for block in blocks(DOCS / name))])
def test_all_blocks_of_a_guide_with_slow_ones_run_as_written(
    name: str, environment: dict[str, str], tmp_path: Path
) -> None:
    run_page(name, environment, tmp_path / "work", slow=True)


def test_there_is_a_guide_for_each_task() -> None:
    tasks = {
        "checkpoint",
        "dataset",
        "measure",
        "attack",
        "statistic",
        "architecture",
        "objective",
        "package",
        "table",
        "leaderboard",
        "cluster",
        "long-runs",
        "gpu",
        "training",
        "photograph",
    }
    assert {path.stem for path in (DOCS / "guides").glob("*.md")} == tasks


def test_every_page_is_in_the_navigation() -> None:
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages_written = [str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")]
    assert not [page for page in pages_written if f": {page}\n" not in listed]


def test_a_package_is_told_every_kind_of_entry_point() -> None:
    page = (DOCS / "guides" / "package.md").read_text(encoding="utf-8")
    example = tomllib.loads((ROOT / "examples/measurebench-example/pyproject.toml").read_text(encoding="utf-8"))
    (shown,) = re.findall(r"^```toml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert tomllib.loads(shown)["project"]["entry-points"] == example["project"]["entry-points"]
    assert set(example["project"]["entry-points"]) == {f"measurebench.{kind}" for kind in GROUPS}


def test_a_mark_that_means_nothing_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- run: sometimes -->\n```sh\ntrue\n```\n", encoding="utf-8")
    with pytest.raises(ValueError, match="unknown marks"):
        blocks(page)


def test_a_mark_without_a_block_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- run -->\n\nno block\n", encoding="utf-8")
    with pytest.raises(ValueError, match="not followed by a block"):
        blocks(page)
