"""A storage is never larger than the record that holds its numbers, whatever the file declares."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from measurebench.models.formats import recognise
from measurebench.models.storages import check_storages
from tests.models.checkpoints import saved, state


def checked(content: Any, path: Path) -> None:
    path.write_bytes(saved(content))
    check_storages(path, recognise(path))


def lying(path: Path, claimed: int, n: int = 7) -> Path:
    """Write a tensor of ``n`` float32 numbers whose storage is declared as ``claimed`` of them."""
    with zipfile.ZipFile(io.BytesIO(saved({"w": torch.arange(float(n))}))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    before, after = b"X\x03\x00\x00\x00cpuq", b"K" + bytes([n])
    start = members[name].index(before)
    place = members[name].index(after, start)
    members[name] = members[name][:place] + b"K" + bytes([claimed]) + members[name][place + 2 :]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        state(),
        {"state_dict": state(), "epoch": 3, "best": {"accuracy": 0.5}, "history": [0.1, 0.2]},
        {"w": torch.zeros(3, dtype=torch.float16), "n": torch.tensor(3), "b": torch.ones(2, dtype=torch.bool)},
        {"w": torch.nn.Parameter(torch.ones(2, 3)), "shared": [torch.ones(5)[1:3]]},
        {"w": torch.ones(4, dtype=torch.bfloat16), "z": torch.zeros(2, dtype=torch.complex64)},
    ],
)
def test_what_torch_saves_passes(content: Any, tmp_path: Path) -> None:
    checked(content, tmp_path / "good.pt")


def test_numpy_values_pass_and_are_not_built(tmp_path: Path) -> None:
    import numpy as np

    checked({"w": torch.ones(2), "loss": np.float64(0.5), "curve": np.arange(3.0)}, tmp_path / "numpy.pt")


def test_one_number_more_than_the_record_holds_is_refused(tmp_path: Path) -> None:
    path = lying(tmp_path / "more.pt", claimed=8)
    with pytest.raises(pickle.UnpicklingError, match="storage 0 is said to hold 8 elements of 4 bytes, its record 28"):
        check_storages(path, recognise(path))


def test_exactly_what_the_record_holds_passes(tmp_path: Path) -> None:
    path = lying(tmp_path / "same.pt", claimed=7)
    check_storages(path, recognise(path))


def test_nothing_that_the_file_names_is_imported(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "canary",))

    checked({"w": torch.ones(2), "trap": Trap()}, tmp_path / "trap.pt")
    assert not (tmp_path / "canary").exists()
