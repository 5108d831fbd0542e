"""Arrays per example beside the records: verdicts of attacks with the digest of the images, and AutoAttack's blocks."""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from measurebench.core.files import file_name, write_atomically
from measurebench.core.npz import check_arrays

__all__ = [
    "Arrays",
    "block_path",
    "file_name",
    "is_intact",
    "read_arrays",
    "verdict_path",
    "with_digest",
    "write_arrays",
]

Arrays = Mapping[str, npt.NDArray[Any]]
_DIGEST = 64  # hexadecimal digits of a SHA-256


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
    write_atomically(path, with_digest(buffer.getvalue()))


def with_digest(archive: bytes) -> bytes:
    """Return a zip archive without a comment with its own SHA-256 as the comment, which zip readers pass over."""
    digest = hashlib.sha256(archive).hexdigest().encode()
    return archive[:-2] + len(digest).to_bytes(2, "little") + digest


def is_intact(content: bytes) -> bool:
    """Tell whether a zip archive is as ``with_digest`` made it; one of an earlier version is judged by its CRCs."""
    archive, length, digest = content[: -_DIGEST - 2], content[-_DIGEST - 2 : -_DIGEST], content[-_DIGEST:]
    if length == _DIGEST.to_bytes(2, "little"):
        return hashlib.sha256(archive + b"\0\0").hexdigest().encode() == digest
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            return not opened.comment and content.endswith(b"\0\0") and opened.testzip() is None
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, OSError, zlib.error):
        return False


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]] | None:
    """Return the arrays of an .npz file, of any shape, or None where it is missing or damaged."""
    try:
        content = path.read_bytes()
        if not is_intact(content):
            return None
        check_arrays(io.BytesIO(content), str(path))
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception:  # noqa: BLE001 - a damaged header reaches Python's tokenizer, which raises errors of many kinds
        return None


def verdict_path(folder: Path, model_id: str, config_digest: str, split: str, attack: str) -> Path:
    """Return the file with the verdicts of an attack for each example."""
    return Path(folder, "examples", file_name(model_id), config_digest, f"{split}-{file_name(attack)}.npz")


def block_path(folder: Path, model_digest: str, config_digest: str, name: str) -> Path:
    """Return the file of a block of examples that an attack such as AutoAttack has searched."""
    return folder / "blocks" / model_digest / config_digest / f"{name}.block"
