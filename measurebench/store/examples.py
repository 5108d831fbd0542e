"""Arrays per example beside the records: verdicts of attacks with the digest of the images, and AutoAttack's blocks."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from measurebench.core.files import file_name, write_atomically

__all__ = ["Arrays", "block_path", "file_name", "read_arrays", "verdict_path", "write_arrays"]

Arrays = Mapping[str, npt.NDArray[Any]]


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays of any shape as .npz, whole or not at all.

    Equal arrays give equal bytes: names are sorted and the times inside the archive are fixed.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asanyarray(arrays[name]), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), member.getvalue())
    write_atomically(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]] | None:
    """Return the arrays of an .npz file, of any shape, or None where it is missing or damaged."""
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            return {name: archive[name] for name in archive.files} if hasattr(archive, "files") else None
    except Exception:  # noqa: BLE001 - a damaged header reaches Python's tokenizer, which raises errors of many kinds
        return None


def verdict_path(folder: Path, model_id: str, config_digest: str, split: str, attack: str) -> Path:
    """Return the file with the verdicts of an attack for each example."""
    return folder / "examples" / file_name(model_id) / config_digest / f"{split}-{file_name(attack)}.npz"


def block_path(folder: Path, model_digest: str, config_digest: str, name: str) -> Path:
    """Return the file of a block of examples that an attack such as AutoAttack has searched."""
    return folder / "blocks" / model_digest / config_digest / f"{name}.block"
