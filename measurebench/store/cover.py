"""What was read of a journal: up to which place, which lines before it are damaged, and the digests of its bytes."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measurebench.store.checked_lines import Damage
from measurebench.store.journal import Place

__all__ = ["BLOCK", "FOLDER", "BlockDigests", "Cover", "drop_orphans", "drop_snapshot", "snapshot_path"]

FOLDER = "snapshot"
BLOCK = 1 << 22  # bytes of the journal with one SHA-256: blocks are hashed side by side, and kept when a snapshot grows


class BlockDigests:
    """The SHA-256 of each block of a file, of which the last may still grow."""

    def __init__(self, whole: Sequence[str] = (), last: Any = None, n_last: int = 0) -> None:
        self._whole, self._last, self._n_last = list(whole), last or hashlib.sha256(), n_last

    def update(self, content: bytes) -> None:
        """Add the bytes that follow in the file."""
        view = memoryview(content)
        while view:
            part = view[: BLOCK - self._n_last]
            self._last.update(part)
            self._n_last, view = self._n_last + len(part), view[len(part) :]
            if self._n_last == BLOCK:
                self._whole.append(self._last.hexdigest())
                self._last, self._n_last = hashlib.sha256(), 0

    def digests(self) -> list[str]:
        """Return the digests in the order of the blocks."""
        return [*self._whole, *([self._last.hexdigest()] if self._n_last else [])]


@dataclass
class Cover:
    """What was read of a journal: the place up to which, the damaged lines before it, and digests of those bytes."""

    place: Place = field(default_factory=Place)
    damages: list[Damage] = field(default_factory=list)
    blocks: BlockDigests = field(default_factory=BlockDigests)


def snapshot_path(journal: Path) -> Path:
    """Return the snapshot of a journal; what it covers stands in a file of the same name that ends in .json.

    >>> snapshot_path(Path("r/records.jsonl")).as_posix()
    'r/snapshot/records.parquet'
    """
    return journal.parent / FOLDER / f"{journal.stem}.parquet"


def drop_snapshot(journal: Path) -> None:
    """Remove the snapshot of a journal that is about to be written anew, where that is possible."""
    path = snapshot_path(journal)
    with suppress(OSError):
        if not path.parent.is_symlink():
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink(missing_ok=True)


def drop_orphans(folder: Path) -> None:
    """Remove snapshots of journals that are gone from a results folder, where that is possible."""
    for path in sorted((folder / FOLDER).glob("records*.parquet")):
        if not (journal := folder / f"{path.stem}.jsonl").exists():
            drop_snapshot(journal)
