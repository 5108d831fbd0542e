"""What is no .npz file is told what it is, before numpy advises to read it as a pickle."""

import io
from pathlib import Path

import numpy as np
import pytest

from measurebench.core.errors import BadInputError
from measurebench.core.npz import check_arrays


def archive() -> bytes:
    file = io.BytesIO()
    np.savez(file, x=np.arange(3))
    return file.getvalue()


def single() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(3))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "an empty file"),
        (b"hello", "a file of another format"),
        (single(), "a single array"),
        (archive()[:-30], "a damaged or incomplete one"),
    ],
)
def test_what_is_no_archive_is_named(content: bytes, told: str) -> None:
    with pytest.raises(BadInputError, match=rf"^d.npz: expected an .npz file of plain arrays, got {told}"):
        check_arrays(io.BytesIO(content), "d.npz")


def test_an_archive_is_left_at_its_start(tmp_path: Path) -> None:
    file = io.BytesIO(archive())
    check_arrays(file, "d.npz")
    assert file.tell() == 0
