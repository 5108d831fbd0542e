"""Counts what a block of code asks of the pretended GPU: operations, synchronisations and uploads."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = [
    "Counts",
    "counting",
    "note_operation",
    "note_reduced",
    "note_synchronisation",
    "note_undetermined",
    "note_upload",
    "silent",
]


@dataclass
class Counts:
    """``operations`` issued, host ``synchronisations`` and ``uploads`` from the host, each by name.

    An operation is what would launch a kernel: views and other operations that touch no data do not count. A
    synchronisation makes the host wait for the device: ``item``, ``nonzero``, a copy to the host, a Boolean index.
    An upload copies ordinary memory to the device, for which the host waits less long, but waits. ``by_reduced``
    names products that a GPU would compute in TF32, bfloat16 or float16, ``by_undetermined`` sums whose order differs
    from run to run.
    """

    by_operation: Counter[str] = field(default_factory=Counter)
    by_synchronisation: Counter[str] = field(default_factory=Counter)
    by_upload: Counter[str] = field(default_factory=Counter)
    by_reduced: Counter[str] = field(default_factory=Counter)
    by_undetermined: Counter[str] = field(default_factory=Counter)

    @property
    def operations(self) -> int:
        return self.by_operation.total()

    @property
    def synchronisations(self) -> int:
        return self.by_synchronisation.total()

    @property
    def uploads(self) -> int:
        return self.by_upload.total()


_open: list[Counts] = []


@contextmanager
def counting() -> Iterator[Counts]:
    """Count what the block does; blocks may lie within each other."""
    counts = Counts()
    _open.append(counts)
    try:
        yield counts
    finally:
        _open.remove(counts)


def note_reduced(name: str) -> None:
    for counts in _open:
        counts.by_reduced[name] += 1


def note_undetermined(name: str) -> None:
    for counts in _open:
        counts.by_undetermined[name] += 1


@contextmanager
def silent() -> Iterator[None]:
    """Count nothing that the block does."""
    kept = list(_open)
    _open.clear()
    try:
        yield
    finally:
        _open.extend(kept)


def note_operation(name: str) -> None:
    for counts in _open:
        counts.by_operation[name] += 1


def note_synchronisation(name: str) -> None:
    for counts in _open:
        counts.by_synchronisation[name] += 1


def note_upload(name: str) -> None:
    for counts in _open:
        counts.by_upload[name] += 1
