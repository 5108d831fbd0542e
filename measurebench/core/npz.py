"""Looks into an ``.npz`` file before it is read: what its arrays will take, and whether the file can hold them."""

import ast
import math
import zipfile
from typing import IO

from measurebench.core.errors import BadInputError
from measurebench.core.limits import ARRAYS_BYTES, EXPANSION

__all__ = ["check_arrays"]

# Compression of less than this much is never refused: it does no harm.
_SMALL = 64 << 20


def check_arrays(file: IO[bytes], subject: str, expected: str = "an .npz file of plain arrays") -> None:
    """Check the arrays of an open ``.npz`` file by their headers alone, and go back to its start.

    ``expected`` says in messages what the file should be.

    Raises LimitError, which names ``subject``, for arrays that are too large or that a small file would unpack to, and
    BadInputError for a file that is no zip archive and for an array that is larger than its bytes.
    """
    if not zipfile.is_zipfile(file):
        file.seek(0)
        raise BadInputError(subject, expected, _other(file.read(6)), "write it with numpy.savez")
    size = file.seek(0, 2)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        ARRAYS_BYTES.check(unpacked, subject)
        if unpacked > _SMALL:
            EXPANSION.check(unpacked // max(size, 1), subject)
        for member in members:
            with archive.open(member) as stream:
                _check_header(stream, member, subject)
    file.seek(0)


def _other(start: bytes) -> str:
    """Return what a file is that is no zip archive, by its first six bytes."""
    if start.startswith(b"PK"):
        return "a damaged or incomplete one"
    return {b"": "an empty file", b"\x93NUMPY": "a single array (.npy)"}.get(start, "a file of another format")


def _check_header(stream: IO[bytes], member: zipfile.ZipInfo, subject: str) -> None:
    """Compare the shape that an array's header names with the bytes of its member of the archive."""
    import numpy as np

    start = stream.read(10)
    if not start.startswith(b"\x93NUMPY"):
        return  # numpy says what it is instead
    length = int.from_bytes(start[8:10] + (stream.read(2) if start[6] > 1 else b""), "little")
    try:
        header = ast.literal_eval(stream.read(min(length, 10_000)).decode("latin-1").strip())
        dtype, shape = np.dtype(header["descr"]), tuple(header["shape"])
        wanted = math.prod(shape) * dtype.itemsize
    except Exception:  # noqa: BLE001 - numpy will say what is wrong with it
        return
    if wanted > member.file_size and not dtype.hasobject:
        got = f"an array {member.filename.removesuffix('.npy')!r} of {wanted:,} bytes in {member.file_size:,}"
        raise BadInputError(subject, "arrays that are as large as they say", got, "the file is damaged")
