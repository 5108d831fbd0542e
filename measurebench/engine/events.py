"""What happens in a run, told one event at a time."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from measurebench.engine.plan import Task
from measurebench.store.gpu_uses import GpuUse

__all__ = ["BlockTime", "Event", "now"]


@dataclass(frozen=True)
class Event:
    """What happened, for the journal or the screen.

    ``kind`` is environment, config, started, model, record, block, worker or finished.
    """

    kind: str
    value: Any


@dataclass(frozen=True)
class BlockTime:
    """The seconds that a block took: ``loading`` (about 0 where its model was loaded already) and ``measuring``.

    ``gpu`` is how its GPU was used at the end, None on a CPU.
    """

    task: Task
    loading: float
    measuring: float
    gpu: GpuUse | None = None


def now() -> str:
    """Return the time as records state it: ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
