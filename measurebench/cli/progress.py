"""Progress on stderr: a bar with the time left at a terminal; in a log, a line per model once a run is long."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from measurebench.cli.printing import say
from measurebench.core.records import Record

if TYPE_CHECKING:
    from measurebench.engine.executors import WorkerState

__all__ = ["QUIET_SECONDS", "columns", "duration", "terminal_progress", "worker_line"]

QUIET_SECONDS = 60.0
_LONGEST = 80  # characters of a name beside the bar


class _Pace:
    """How much is left, and how long it will take if every pair takes as long as those measured so far.

    A model that cannot be loaded settles all of its pairs at once, and a measure that fails may fail at once too: both
    say nothing of the pace. The clock starts with the first model that has a value: failed downloads before it may
    have taken any time.
    """

    def __init__(self) -> None:
        self.n_open = self.n_settled = self.n_measured = 0
        self.open_pairs: dict[str, int] = {}
        self.started_at: dict[str, float] = {}
        self.first: float | None = None

    def planned(self, n_models: int, open_pairs: Mapping[str, int], n_done: int) -> None:  # noqa: ARG002 - Progress
        self.open_pairs, self.n_open = dict(open_pairs), sum(open_pairs.values())

    def started(self, model_id: str) -> None:
        self.started_at[model_id] = time.monotonic()

    def recorded(self, record: Record) -> None:
        if record.measure == "load":
            return
        if record.status != "failed":
            if self.first is None:
                self.first = self.started_at.get(record.model_id, time.monotonic())
            self.n_measured += 1
        self._settle(record.model_id, 1)

    def finished(self, model_id: str) -> None:
        self._settle(model_id, self.open_pairs.get(model_id, 0))

    def _settle(self, model_id: str, n: int) -> None:
        n = min(n, self.open_pairs.get(model_id, 0))
        self.open_pairs[model_id] = self.open_pairs.get(model_id, 0) - n
        self.n_settled += n

    def left(self) -> str:
        rest = self.n_open - self.n_settled
        if not rest:
            return "about 0 s left"
        if self.first is None:
            return "time left not known yet"
        return f"about {duration((time.monotonic() - self.first) / self.n_measured * rest)} left"


class _Lines(_Pace):
    """Prints a line for each finished model, once the run has lasted ``QUIET_SECONDS``; short runs print nothing.

    The loss of a worker is told at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.start, self.n_finished = time.monotonic(), 0
        self.failed: Counter[str] = Counter()

    def recorded(self, record: Record) -> None:
        super().recorded(record)
        self.failed[record.model_id] += record.status == "failed"

    def worker(self, state: "WorkerState") -> None:
        if state.lost:
            say(f"{state.lost}; another one goes on", err=True)

    def finished(self, model_id: str) -> None:
        super().finished(model_id)
        self.n_finished += 1
        if time.monotonic() - self.start < QUIET_SECONDS:
            return
        failed = f" ({self.failed[model_id]} failed)" if self.failed[model_id] else ""
        say(f"{self.n_finished} done: {model_id}{failed}, {self.left()}", err=True)


class _Terminal(_Pace):
    """Shows a bar over all pairs of model and measure."""

    def __init__(self, bar: Any) -> None:
        super().__init__()
        self.bar, self.task = bar, bar.add_task("planning", total=None, left="")
        self.workers: dict[int, WorkerState] = {}

    def planned(self, n_models: int, open_pairs: Mapping[str, int], n_done: int) -> None:
        super().planned(n_models, open_pairs, n_done)
        found = f", {n_done} values on record" if n_done else ""
        self.bar.update(self.task, total=self.n_open, description=f"{n_models} models{found}")

    def started(self, model_id: str) -> None:
        super().started(model_id)
        if not self.workers:
            self._describe(model_id)

    def worker(self, state: "WorkerState") -> None:
        from measurebench.core.foreign import for_terminal

        self.workers[state.worker] = state
        if state.lost:
            told = for_terminal(f"{state.lost}; another one goes on")
            self.bar.console.print(told, markup=False, highlight=False)
        self._describe(worker_line(self.workers.values()))

    def _describe(self, text: str) -> None:
        from measurebench.core.foreign import for_terminal

        self.bar.update(self.task, description=for_terminal(text, _LONGEST))

    def recorded(self, record: Record) -> None:
        super().recorded(record)
        self._show()

    def finished(self, model_id: str) -> None:
        super().finished(model_id)
        self._show()

    def _show(self) -> None:
        self.bar.update(self.task, completed=self.n_settled, left=self.left())


def worker_line(workers: "Iterable[WorkerState]") -> str:
    """Return in a line what workers are doing: the model of each that measures, with its machine, and how many wait."""
    states = sorted(workers, key=lambda state: state.worker)
    busy = [f"{state.place}: {state.model_id}" if state.place else state.model_id for state in states if state.model_id]
    waiting = len(states) - len(busy)
    return ", ".join([*busy, *([f"{waiting} waiting"] if waiting else [])])


def duration(seconds: float) -> str:
    """Return a duration in its two largest units.

    >>> duration(7322)
    '2 h 2 min'
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


@contextmanager
def terminal_progress() -> Iterator[Any]:
    """Show the progress of a run on stderr: a bar at a terminal, else a line per model."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(*columns(), console=Console(stderr=True)) as bar:
        yield _Terminal(bar)


def columns() -> tuple[Any, ...]:
    """Return the columns of the bar; texts in them are no markup."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    left = TextColumn("{task.fields[left]}", markup=False)
    return TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), left
