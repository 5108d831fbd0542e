"""Progress on stderr: a bar with the time left for people at a terminal; for logs a line per model, of long runs."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from measurebench.core.records import Record

__all__ = ["QUIET_SECONDS", "duration", "terminal_progress"]

QUIET_SECONDS = 60.0


class _Pace:
    """How long the rest takes, supposing that every pair of model and measure takes as long as those so far."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.n_open = self.n_recorded = 0

    def left(self) -> str:
        elapsed = time.monotonic() - self.start
        rest = elapsed / max(self.n_recorded, 1) * max(self.n_open - self.n_recorded, 0)
        return f"about {duration(rest)} left"


class _Lines(_Pace):
    """A line per model that is done, once the run has lasted for ``QUIET_SECONDS``: a short one says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.n_finished = 0
        self.failed: Counter[str] = Counter()

    def planned(self, n_models: int, n_open: int, n_done: int) -> None:  # noqa: ARG002 - the protocol of engine.runner
        self.n_open = n_open

    def started(self, model_id: str) -> None:
        """Say nothing yet."""

    def recorded(self, record: Record) -> None:
        self.n_recorded += 1
        self.failed[record.model_id] += record.status == "failed"

    def finished(self, model_id: str) -> None:
        self.n_finished += 1
        if time.monotonic() - self.start < QUIET_SECONDS:
            return
        failed = f" ({self.failed[model_id]} failed)" if self.failed[model_id] else ""
        print(f"{self.n_finished} done: {model_id}{failed}, {self.left()}", file=sys.stderr, flush=True)


class _Terminal(_Pace):
    """A bar over all pairs of model and measure."""

    def __init__(self, bar: Any) -> None:
        super().__init__()
        self.bar, self.task = bar, bar.add_task("planning", total=None, left="")

    def planned(self, n_models: int, n_open: int, n_done: int) -> None:
        self.n_open = n_open
        found = f", {n_done} values found" if n_done else ""
        self.bar.update(self.task, total=n_open, description=f"{n_models} models{found}")

    def started(self, model_id: str) -> None:
        self.bar.update(self.task, description=model_id)

    def recorded(self, record: Record) -> None:  # noqa: ARG002 - the protocol of engine.runner
        self.n_recorded += 1
        self.bar.update(self.task, completed=self.n_recorded, left=self.left())

    def finished(self, model_id: str) -> None:
        """Say nothing: the bar shows the model that comes next."""


def duration(seconds: float) -> str:
    """Write a duration in its two largest units."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


@contextmanager
def terminal_progress() -> Iterator[Any]:
    """Show progress on stderr for the length of a run; a line per model where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield _Terminal(bar)
