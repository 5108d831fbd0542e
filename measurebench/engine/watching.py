"""Who watches a run: what is planned and what happens, told to whoever shows it."""

from collections.abc import Mapping
from typing import Protocol

from measurebench.core.records import Record

__all__ = ["Progress", "Quiet"]


class Progress(Protocol):
    """Hears what is planned and what happens, to show it. A pair is one measure on one split.

    A watcher that also has a method ``worker`` hears what each worker process is doing (``executors.WorkerState``).
    """

    def planned(self, n_models: int, open_pairs: Mapping[str, int], n_done: int) -> None:
        """Hear how many models were asked for, the open pairs of each model, and how many pairs have records."""
        ...

    def started(self, model_id: str) -> None:
        """Hear that a model is being loaded."""
        ...

    def recorded(self, record: Record) -> None:
        """Hear of a new record."""
        ...

    def finished(self, model_id: str) -> None:
        """Hear that nothing more will come of a model: all is measured, or it cannot be loaded."""
        ...


class Quiet:
    """Progress that shows nothing."""

    def planned(self, n_models: int, open_pairs: Mapping[str, int], n_done: int) -> None:
        """Show nothing."""

    def started(self, model_id: str) -> None:
        """Show nothing."""

    def recorded(self, record: Record) -> None:
        """Show nothing."""

    def finished(self, model_id: str) -> None:
        """Show nothing."""
