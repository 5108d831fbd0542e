"""Where a run keeps what its long attacks have done: files under the results folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from measurebench.attacks.standard.blocks import Arrays, decoded, encoded
from measurebench.core.files import write_atomically
from measurebench.core.info import Split
from measurebench.store.examples import block_path

__all__ = ["DiskBlocks"]


class DiskBlocks:
    """What long attacks have done, under the results folder: blocks of examples, each with a checksum.

    Every block says on which kinds of device it was computed. ``devices`` are those of all blocks read or written,
    since a run may go on where another began, on other hardware.
    """

    def __init__(self, folder: Path, model_digest: str, config_digest: str, split: Split, device: str) -> None:
        self._place, self._split = (folder, model_digest, config_digest), split
        self.devices = {device.partition(":")[0]}

    def _path(self, name: str) -> Path:
        return block_path(*self._place, f"{self._split}-{name}")

    def get(self, name: str) -> Arrays | None:
        """Return the arrays of this name (any shape), or None where there is no file that is whole."""
        path = self._path(name)
        found = decoded(path.read_bytes()) if path.is_file() else None
        if found is not None:
            self.devices.update(found.pop("devices", np.array([])).tolist())
        return found

    def put(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Write arrays of any shape in place of those of the same name."""
        write_atomically(self._path(name), encoded({**arrays, "devices": np.array(sorted(self.devices))}))
