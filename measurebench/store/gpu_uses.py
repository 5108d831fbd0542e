"""How GPUs were used when the last blocks on them ended, from lines of ``costs.jsonl``."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

__all__ = ["GpuUse", "gpu_uses"]

_LARGEST = 1 << 60  # bytes; no memory is larger


@dataclass(frozen=True)
class GpuUse:
    """How a GPU was used when a block on it had just ended; ``time`` is when, in UTC.

    ``used_bytes`` of ``total_bytes`` were in use by all processes, ``reserved_bytes`` of them by the worker.
    ``utilization`` is the share of the last second in which the GPU computed, in percent; None where it is not known.
    """

    host: str
    name: str
    device: str
    used_bytes: int
    total_bytes: int
    reserved_bytes: int
    utilization: float | None
    time: str

    def to_json(self) -> dict[str, Any]:
        """Return the use as plain values for JSON."""
        return asdict(self)


def gpu_uses(lines: Iterable[Mapping[str, Any]], since: str = "") -> list[GpuUse]:
    """Return the latest use of each GPU in lines of ``costs.jsonl`` from a time on, by host and device."""
    latest = dict[tuple[str, str], GpuUse]()
    for line in lines:
        use = _gpu_use(line.get("gpu"))
        if use is None or use.time < since:
            continue
        known = latest.get(key := (use.host, use.device))
        if known is None or known.time <= use.time:
            latest[key] = use
    return [latest[key] for key in sorted(latest)]


def _gpu_use(told: Any) -> GpuUse | None:
    """Return the use that a line tells, None where it tells none or tells it badly."""
    if not isinstance(told, Mapping):
        return None
    texts = [told.get(name) for name in ("host", "name", "device", "time")]
    sizes = [told.get(name) for name in ("used_bytes", "total_bytes", "reserved_bytes")]
    busy = told.get("utilization")
    if not all(isinstance(text, str) for text in texts):
        return None
    if not all(type(size) is int and 0 <= size < _LARGEST for size in sizes):
        return None
    if busy is not None and not (type(busy) in (int, float) and 0 <= busy <= 100):
        return None
    values: dict[str, Any] = {field.name: told.get(field.name) for field in fields(GpuUse)}
    return GpuUse(**values)
