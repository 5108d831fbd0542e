"""Digests: short names for exact content, the same on every machine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["digest_array", "digest_file", "digest_json", "seed_from"]

_CHUNK = 1 << 20


def digest_json(value: Any) -> str:
    """Return the SHA-256 (first 16 hex digits) of a value's canonical JSON: sorted keys, no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_array(array: np.ndarray[Any, Any]) -> str:
    """Return the SHA-256 (first 16 hex digits) of an array's type, shape and bytes; any shape."""
    import numpy as np  # here, so that the command line's --help answers without it

    contiguous = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{contiguous.dtype.str}{contiguous.shape}".encode())
    digest.update(contiguous.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()[:16]


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def seed_from(*parts: Any) -> int:
    """Return a seed in [0, 2^63) from any JSON values, so that every stream of random numbers has its own name."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
