"""Slots: a pool of rows in which finished searches leave and waiting jobs enter, so that batches stay full."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from measurebench.attacks.standard.jobs import Ledger, finished
from measurebench.attacks.standard.rows import Rows, join
from measurebench.attacks.standard.search_base import LOOK_EVERY, Search, begun

__all__ = ["Examples", "Pool"]


@dataclass(frozen=True)
class Examples:
    """What is attacked: images [n, ...], labels [n], keys [n], and targets [n, m] by rank."""

    images: Tensor
    labels: Tensor
    keys: Tensor
    targets: Tensor

    def rows(self, jobs: npt.NDArray[np.int64]) -> Rows:
        """Return rows for the jobs [k, 2] of example and rank."""
        examples, ranks = (torch.from_numpy(jobs[:, i].copy()).to(self.images.device) for i in (0, 1))
        images, labels, keys = self.images[examples], self.labels[examples], self.keys[examples]
        return begun(images, labels, self.targets[examples, ranks], keys, examples, ranks)


@dataclass
class Pool:
    """Runs jobs in ``slots`` rows; ``saved`` is called after every pass, with the rows on the way."""

    search: Search
    ledger: Ledger
    examples: Examples
    slots: int
    saved: Callable[[Rows], None] = lambda _: None
    resumed: Callable[[Rows], Rows] = lambda rows: rows
    _n_passes: int = 0
    _due: set[int] = field(default_factory=set)

    def run(self, jobs: npt.NDArray[np.int64]) -> None:
        """Work through the jobs [k, 2], in their order; what they come to stands in the ledger."""
        waiting = jobs
        rows: Rows | None = None
        while True:
            rows, waiting = self._filled(rows, waiting)
            if rows is None:
                return
            rows = self.ledger.settle(self.search.advance(rows))
            self._n_passes += 1
            self.saved(rows)

    def _filled(self, rows: Rows | None, waiting: npt.NDArray[np.int64]) -> tuple[Rows | None, npt.NDArray[np.int64]]:
        """Exchange finished rows for waiting jobs, once enough have finished for the change to pay."""
        if rows is not None:
            if not self._worth_a_look(rows) or self.search.n_done(rows) * 8 < len(rows["done"]):
                return rows, waiting
            over, rows = finished(rows)
            self.ledger.record(over)
        free = self.slots - (0 if rows is None else len(rows["done"]))
        entering, waiting = self._next(waiting, free)
        if len(entering):
            fresh = self.resumed(self.search.start(self.examples.rows(entering)))
            rows = fresh if rows is None else join(rows, fresh)
            self._due.add(self._n_passes + self.search.n_passes)
        return (rows if rows is not None and len(rows["done"]) else None), waiting

    def _worth_a_look(self, rows: Rows) -> bool:
        """Return whether to count the finished rows now: always, but not always where the host would wait for it.

        Finished rows stay as they are, so looking later costs passes and changes nothing.
        """
        if self._n_passes in self._due:
            self._due.remove(self._n_passes)
            return True
        return rows["done"].device.type == "cpu" or self._n_passes % LOOK_EVERY == 0

    def _next(self, waiting: npt.NDArray[np.int64], free: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the next jobs that are still open, at most ``free``, and those that remain."""
        chosen = waiting[:0]
        while len(chosen) < free and len(waiting):
            ahead = free - len(chosen)
            chosen = np.concatenate([chosen, self.ledger.open_jobs(waiting[:ahead])])
            waiting = waiting[ahead:]
        return chosen, waiting
