"""Progress with time left, on stderr, for people at a terminal only."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from measurebench.core.records import Record


class _Quiet:
    def planned(self, n_models: int, n_open: int, n_done: int) -> None:
        """Say nothing."""

    def started(self, model_id: str) -> None:
        """Say nothing."""

    def recorded(self, record: Record) -> None:
        """Say nothing."""


class _Terminal:
    """A bar over all pairs of model and measure; the time left supposes that the rest takes as long per pair."""

    def __init__(self, bar: Any) -> None:
        self.bar, self.task = bar, bar.add_task("planning", total=None, left="")
        self.start = time.monotonic()
        self.n_open = self.n_recorded = 0

    def planned(self, n_models: int, n_open: int, n_done: int) -> None:
        self.n_open = n_open
        found = f", {n_done} values found" if n_done else ""
        self.bar.update(self.task, total=n_open, description=f"{n_models} models{found}")

    def started(self, model_id: str) -> None:
        self.bar.update(self.task, description=model_id)

    def recorded(self, record: Record) -> None:  # noqa: ARG002 - the protocol of engine.runner
        self.n_recorded += 1
        elapsed = time.monotonic() - self.start
        left = elapsed / self.n_recorded * max(self.n_open - self.n_recorded, 0)
        self.bar.update(self.task, completed=self.n_recorded, left=f"about {_duration(left)} left")


def _duration(seconds: float) -> str:
    """Write a duration in its two largest units."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


@contextmanager
def terminal_progress() -> Iterator[Any]:
    """Show progress on stderr for the length of a run; say nothing where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield _Quiet()
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
