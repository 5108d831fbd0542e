"""Blocks of arrays on disk: written whole or not at all, and read only where nothing is missing or changed."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from measurebench.core.errors import BadInputError
from measurebench.core.files import write_atomically
from measurebench.core.limits import ARRAYS_BYTES
from measurebench.core.reading import read_bytes

__all__ = ["Arrays", "FolderStore", "Store", "decoded", "encoded"]

Arrays = dict[str, npt.NDArray[Any]]
_DIGEST = 32


class Store(Protocol):
    """Where blocks of arrays are kept by name."""

    def get(self, name: str) -> Arrays | None:
        """Return the block, or None where there is none that is whole."""

    def put(self, name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Keep the block, arrays of any shape, in place of one of the same name."""


def encoded(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return named arrays (any shape) as bytes that end with their own SHA-256."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    content = buffer.getvalue()
    return content + hashlib.sha256(content).digest()


def decoded(content: bytes) -> Arrays | None:
    """Return the arrays, or None where the bytes are not as they were written.

    >>> decoded(encoded({"a": np.arange(3)}))
    {'a': array([0, 1, 2])}
    >>> decoded(encoded({"a": np.arange(3)})[:-1]) is None
    True
    """
    body, digest = content[:-_DIGEST], content[-_DIGEST:]
    if hashlib.sha256(body).digest() != digest:
        return None
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile):
        return None


class FolderStore:
    """A folder with one file per block; a damaged file counts as missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.block"

    def get(self, name: str) -> Arrays | None:
        """Return the block, or None where there is none that is whole."""
        try:
            return decoded(read_bytes(self._path(name), ARRAYS_BYTES, "a block of examples"))
        except (FileNotFoundError, BadInputError):
            return None

    def put(self, name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write the block, arrays of any shape, beside its place, then move it there."""
        write_atomically(self._path(name), encoded(arrays))
