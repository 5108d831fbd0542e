"""Links and pipes that somebody planted among our files change nothing outside the folder, and nothing waits."""

import os
from pathlib import Path

import numpy as np
import pytest

from measurebench.attacks.standard.blocks import FolderStore
from measurebench.core.errors import BadInputError
from measurebench.core.files import write_atomically
from measurebench.models.manifest import copy_beside
from measurebench.store.folder import ResultsFolder
from measurebench.training.fleet import Source, train_all
from measurebench.training.single import single_training

JOURNALS = ("records.jsonl", "models.jsonl", "configs.jsonl", "environments.jsonl", "runs.jsonl", "lock")
PRECIOUS = "precious, and without a final newline"


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    (tmp_path / "precious").write_text(PRECIOUS)
    return tmp_path / "precious"


@pytest.mark.parametrize("name", JOURNALS)
def test_a_link_in_a_results_folder_leaves_its_target_as_it_is(name: str, tmp_path: Path, precious: Path) -> None:
    with ResultsFolder.writing(tmp_path / "r", "0"):
        pass
    (tmp_path / "r" / name).unlink(missing_ok=True)
    (tmp_path / "r" / name).symlink_to(precious)
    with pytest.raises(BadInputError, match="a regular file"), ResultsFolder.writing(tmp_path / "r", "0") as folder:
        for journal in (folder._records, folder.models, folder.configs, folder.environments, folder.runs):
            journal.append({"a": 1})
    assert precious.read_text() == PRECIOUS


@pytest.mark.parametrize("plant", ["link", "pipe", "folder"])
def test_the_lock_of_training_must_be_a_regular_file(plant: str, tmp_path: Path, precious: Path) -> None:
    (tmp_path / "t" / "states").mkdir(parents=True)
    lock = tmp_path / "t" / "states" / "lock"
    {"link": lambda: lock.symlink_to(precious), "pipe": lambda: os.mkfifo(lock), "folder": lock.mkdir}[plant]()
    runs = single_training({"defense": "Standard", "epochs": 1}, "digits")
    with pytest.raises((BadInputError, IsADirectoryError)):
        train_all(runs, Source("digits"), tmp_path / "t")
    assert precious.read_text() == PRECIOUS


@pytest.mark.parametrize("exists", [True, False])
def test_a_file_written_in_place_of_a_link_replaces_the_link(exists: bool, tmp_path: Path, precious: Path) -> None:
    target = precious if exists else tmp_path / "missing"
    (tmp_path / "out").symlink_to(target)
    write_atomically(tmp_path / "out", b"new")
    assert not (tmp_path / "out").is_symlink()
    assert target.exists() == exists
    assert precious.read_text() == PRECIOUS


def test_copying_an_architecture_does_not_write_through_a_link_to_nothing(tmp_path: Path) -> None:
    for name in ("source", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "source" / "nets.py").write_text("x = 1")
    (tmp_path / "out" / "nets.py").symlink_to(tmp_path / "elsewhere.py")
    copy_beside("nets.py:net", tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "elsewhere.py").exists()
    assert (tmp_path / "out" / "nets.py").read_text() == "x = 1"


def test_a_block_is_not_written_through_a_link_and_a_pipe_is_no_block(tmp_path: Path, precious: Path) -> None:
    store = FolderStore(tmp_path / "blocks")
    for name in ("a.block", f"a.{os.getpid()}.tmp"):
        (tmp_path / "blocks" / name).symlink_to(precious)
    store.put("a", {"x": np.arange(3)})
    assert precious.read_text() == PRECIOUS
    found = store.get("a")
    assert found is not None
    assert found["x"].tolist() == [0, 1, 2]
    os.mkfifo(tmp_path / "blocks" / "b.block")
    assert store.get("b") is None
