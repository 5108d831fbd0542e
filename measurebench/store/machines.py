"""Which machines measured what: the records of a results folder counted by the machine that they name."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from measurebench.store.record_set import RecordSet

__all__ = ["Machine", "machines"]


@dataclass(frozen=True)
class Machine:
    """A machine by its name in the network, what it computed on, and how many records of how many models it made."""

    host: str
    hardware: str
    n_records: int
    n_models: int


def machines(records: RecordSet, environments: Iterable[Mapping[str, Any]]) -> list[Machine]:
    """Return the machines that made records, that with most of them first.

    A machine with several devices counts once for each kind. Records of environments that are not known, or that name
    no machine (of versions before 0.2), count under an empty host.
    """
    known = {str(line.get("digest")): _place(line) for line in environments}
    counts, models = Counter[tuple[str, str]](), defaultdict[tuple[str, str], set[str]](set)
    for digest, (n, ids) in records.by_environment().items():
        place = known.get(digest, ("", ""))
        counts[place] += n
        models[place] |= ids
    found = [Machine(*place, n, len(models[place])) for place, n in counts.items()]
    return sorted(found, key=lambda machine: (-machine.n_records, machine.host, machine.hardware))


def _place(environment: Mapping[str, Any]) -> tuple[str, str]:
    """Return host and hardware: the GPU, or the processor where there is none."""
    device = str(environment.get("device") or "")
    return str(environment.get("host") or ""), str(environment.get("cpu") or "") if device == "cpu" else device
