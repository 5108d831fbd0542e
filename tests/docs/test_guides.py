"""Every block of the guides that is marked for it runs as it is written, in an empty folder, on a CPU and offline."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import takewhile
from pathlib import Path

import pytest

from measurebench.core.origins import GROUPS
from tests.docs.guides import DOCS, Block, blocks, pages, unmarked
from tests.docs.stand_ins import mair_runs, robustbench_mirror, write_cifar, write_lite

ROOT = DOCS.parent
NAMES = [str(path.relative_to(DOCS)) for path in pages()]


# What somebody comes with, and the guide that shows how it is done.
JOBS = {
    "a checkpoint of one's own": ("checkpoint",),
    "ImageNet": ("photograph",),
    "plug-ins": ("measure", "attack", "dataset", "objective", "package"),
    "RobustBench": ("robustbench",),
    "a table of one's own": ("table",),
    "checkpoints of MAIR": ("mair",),
    "long work": ("long-runs", "cluster"),
    "options": ("options",),
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which ``measurebench`` is the code under test, whatever is installed."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, called in (("measurebench", "-m measurebench "), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {called}"$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    paths = [str(programs), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(paths),
        "MEASUREBENCH_CACHE": str(tmp_path / "cache"),
        "MEASUREBENCH_CONFIG": str(tmp_path / "config"),
        "MEASUREBENCH_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "120",
    }


@contextmanager
def given(name: str, folder: Path, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Lay out what a guide takes as given, which a reader has or downloads; yield the environment with it."""
    page = Path(name).stem
    with ExitStack() as served:
        if page in ("mair", "robustbench"):
            images, labels = write_cifar(Path(environment["MEASUREBENCH_CACHE"]))
        if page == "mair":
            mair_runs(folder, images, labels)
        if page == "robustbench":
            mirror = served.enter_context(robustbench_mirror(folder.parent / "mirror", images, labels))
            write_cifar(folder / "for-the-cluster")
            environment = {**environment, "MEASUREBENCH_MIRROR": mirror, "MEASUREBENCH_OFFLINE": ""}
        if page == "photograph":
            write_lite(Path(environment["PYTHONPATH"].split(os.pathsep)[0]))
        yield environment


def run(block: Block, folder: Path, environment: dict[str, str]) -> None:
    """Write or run a block; one that is marked as not to be run is left alone, wherever it comes from."""
    if not (block.runs or block.cluster):
        return
    if block.file:
        (folder / block.file).write_text(block.body, encoding="utf-8")
        return
    program = ["sh", "-e", "-c"] if block.kind == "sh" else [sys.executable, "-c"]
    done = subprocess.run(
        [*program, block.body], cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{block.body}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def run_page(name: str, environment: dict[str, str], folder: Path) -> None:
    """Run the blocks of a page in turn, also the slow ones."""
    folder.mkdir()
    with given(name, folder, environment) as prepared:
        for block in blocks(DOCS / name):
            if not block.cluster:
                run(block, folder, prepared)


def at_once(name: str) -> list[Block]:
    """Return the blocks of a page before the first slow one, without those that need a cluster."""
    quick = takewhile(lambda block: not block.slow, blocks(DOCS / name))
    return [block for block in quick if not block.cluster]


@pytest.mark.parametrize("name", [name for name in NAMES if any(block.runs for block in at_once(name))])
def test_the_blocks_of_a_guide_up_to_the_first_slow_one_run_as_written(
    name: str, environment: dict[str, str], tmp_path: Path
) -> None:
    for block in at_once(name):
        run(block, tmp_path, environment)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", [name for name in NAMES if any(block.slow for block in blocks(DOCS / name))])
def test_all_blocks_of_a_guide_with_slow_ones_run_as_written(
    name: str, environment: dict[str, str], tmp_path: Path
) -> None:
    run_page(name, environment, tmp_path / "work")


@pytest.mark.parametrize("page", sorted((DOCS / "guides").glob("*.md")), ids=lambda page: page.stem)
def test_every_command_of_a_guide_is_run_or_says_why_it_is_not(page: Path) -> None:
    assert not unmarked(page)
    assert all(block.kind in ("sh", "python") or block.file for block in blocks(page))


@pytest.mark.parametrize("job", JOBS)
def test_each_job_of_a_researcher_has_a_guide_whose_commands_run(job: str) -> None:
    for guide in JOBS[job]:
        page = DOCS / "guides" / f"{guide}.md"
        assert guide == "package" or any(block.runs and not block.file for block in blocks(page))


def test_the_guide_of_a_checkpoint_needs_four_commands_and_that_of_a_table_two() -> None:
    for name, title, n in (("checkpoint", "in four commands", 4), ("table", "in two commands", 2)):
        text = (DOCS / "guides" / f"{name}.md").read_text(encoding="utf-8")
        (section,) = re.findall(rf"^## [^\n]*{title}\n(.*?)(?=^##)", text, re.DOTALL | re.MULTILINE)
        assert len(re.findall("^measurebench ", section, re.MULTILINE)) == n


def test_a_block_that_is_not_to_be_run_is_not_run(tmp_path: Path) -> None:
    run(Block("not run: it would leave a file", "sh", "touch ran\n"), tmp_path, {})
    assert not (tmp_path / "ran").exists()


def test_code_without_a_mark_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- run -->\n```sh\ntrue\n```\n\ntext\n\n```python\n1\n```\n", encoding="utf-8")
    assert unmarked(page) == [8]


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
