"""Tells faults of the machine, such as a full disk or memory that ran out, from faults of a model or of a file."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from measurebench.core.errors import MeasurebenchError

__all__ = ["LostFolderError", "MachineError", "machine_fault", "raise_machine_fault"]

_HINTS = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the quota of the disk is used up: free some space",
    errno.EIO: "the disk or the network drive reports an error: check it",
    errno.EROFS: "the disk was mounted for reading only: check it",
    errno.ESTALE: "the network drive was lost: mount it again",
    errno.ENOTCONN: "the drive was lost: mount it again",
    errno.ENODEV: "the drive was lost: mount it again",
    errno.ENXIO: "the drive was lost: mount it again",
    errno.EHOSTDOWN: "the network drive was lost: mount it again",
    errno.ENOMEM: "the machine ran out of memory: use fewer workers or examples, or a smaller batch size",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
}
# How torch says that the host has no memory left; it has no class of its own for that.
_TORCH_MEMORY = ("DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory")
_AGAIN = "and run the same command again"


class MachineError(MeasurebenchError):
    """The machine cannot go on (exit status 1): a full disk, a lost drive, no memory. It is no property of a model."""


class LostFolderError(MachineError):
    """A folder that is being written to is gone, or another one lies in its place."""


def machine_fault(error: BaseException, where: str = "") -> MachineError | None:
    """Return the fault of the machine that an error is or was caused by, with advice; None for any other error.

    ``where`` says in the message what was being done.

    >>> print(machine_fault(OSError(errno.ENOSPC, "No space left on device", "r/records.jsonl"), "net"))
    net: r/records.jsonl: No space left on device; the disk is full: free some space and run the same command again
    >>> machine_fault(ValueError("bad weights")) is None
    True
    """
    for cause in _chain(error):
        if isinstance(cause, MachineError):
            return cause
        if number := _number(cause):
            file = f"{cause.filename}: " if isinstance(cause, OSError) and cause.filename else ""
            start = f"{where}: " if where else ""
            return MachineError(f"{start}{file}{os.strerror(number)}; {_HINTS[number]} {_AGAIN}")
    return None


def raise_machine_fault(error: BaseException, where: str, file: str | None = None) -> None:
    """Return nothing for an error that is no fault of the machine.

    Raises MachineError where it is one, and LostFolderError where the folder of ``file``, which was there, is gone.
    """
    if fault := machine_fault(error, where):
        raise fault from error
    if file and isinstance(error, MeasurebenchError | OSError) and not Path(file).parent.is_dir():
        raise LostFolderError(f"{where}: the folder {Path(file).parent} is gone: mount the drive again {_AGAIN}")


def _number(error: BaseException) -> int:
    """Return the number of the system's error that is the machine's fault, 0 for any other error."""
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _names_memory(str(error))):
        return errno.ENOMEM
    return error.errno if isinstance(error, OSError) and error.errno in _HINTS else 0


def _names_memory(text: str) -> bool:
    return any(words in text for words in _TORCH_MEMORY)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from or while handling, also where ``from None`` hides that."""
    met: set[int] = set()
    while error is not None and id(error) not in met:
        met.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
