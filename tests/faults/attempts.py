"""Tries every step of every operation: it fails with each error of the disk, and the process is killed at it."""

import errno
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from measurebench.core.errors import BadInputError
from measurebench.core.machine_faults import machine_fault
from tests.faults.injection import FAILURES, count_calls, fails_at, killed_at
from tests.faults.operations import Operation, fresh, quiet

__all__ = ["Attempt", "attempts", "table"]


@dataclass(frozen=True)
class Attempt:
    """One fault at one step of one operation, and what broke its promise; an empty string where nothing did."""

    operation: str
    promise: str
    fault: str
    step: int
    broken: str


def attempts(operation: Operation, out: Path, *, every: int = 1) -> Iterator[Attempt]:
    """Yield an attempt for each fault at every ``every``-th step of an operation that writes below ``out``."""
    assert operation.states
    out.parent.mkdir(parents=True, exist_ok=True)
    operation.before(out)
    steps = count_calls(lambda: operation.do(out), out.parent)
    fresh(out)
    for step in range(1, steps + 1, every):
        for number in (*FAILURES, 0):
            fault = errno.errorcode[number] if number else "kill"
            broken = quiet(lambda step=step, number=number: _broken(operation, out, step, number))
            yield Attempt(operation.name, operation.promise, fault, step, broken)
            fresh(out)


def _broken(operation: Operation, out: Path, step: int, number: int) -> str:
    """Return which promise was broken by a fault (an error of the system, or 0 for a kill) at one step."""
    operation.before(out)
    if number:
        error = fails_at(step, number, lambda: operation.do(out), out.parent)
        if error is not None and machine_fault(error) is None:
            return f"it was told as {type(error).__name__}: {error}"
    elif not killed_at(step, lambda: operation.do(out), out.parent):
        return "the kill did not come"
    if wrong := operation.unsound(out):
        return wrong
    if operation.replaces and operation.state(out) not in operation.states:
        return f"mixed: {sorted(operation.state(out))}"
    return _after_again(operation, out)


def _after_again(operation: Operation, out: Path) -> str:
    """Run the same command again, and return what is not as without the fault."""
    try:
        operation.do(out)
    except (BadInputError, OSError, AssertionError, RuntimeError, ValueError) as error:
        return f"the same command does not go on: {type(error).__name__}: {error}"
    return "" if operation.state(out) == operation.states[1] else "the result is not the same as without the fault"


def table(found: Iterable[Attempt]) -> str:
    """Return the table promise | attempts | failures, a row for each operation and kind of fault."""
    rows: dict[tuple[str, str], list[Attempt]] = {}
    for attempt in found:
        kind = "killed" if attempt.fault == "kill" else "disk fails"
        rows.setdefault((f"`{attempt.operation}`, {kind}: {attempt.promise}", kind), []).append(attempt)
    lines = ["| promise | attempts | failures |", "|---|---:|---:|"]
    for (promise, _), tried in rows.items():
        lines.append(f"| {promise} | {len(tried)} | {sum(bool(attempt.broken) for attempt in tried)} |")
    return "\n".join(lines)
