"""The ledger of one attack: what every job, an example and the rank of its target, has come to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from measurebench.attacks.standard.rows import Rows, take

__all__ = ["BROKEN", "DROPPED", "FAILED", "NEVER", "PENDING", "Ledger", "finished"]

PENDING = 0
FAILED = 1
BROKEN = 2
DROPPED = 3
NEVER = 2**62
_BY_EXAMPLE = ("winners", "certain", "earlier")
_NOTED = ("least", "odd", "odd_gradients", "flat", "forward", "backward", "found_at")


@dataclass
class Ledger:
    """What the jobs of an attack on n examples with m targets have come to.

    ``status`` int8 [n, m] is PENDING, FAILED (searched without success), BROKEN or DROPPED (another target of the
    example came first). ``notes`` hold, each [n, m], the least margin seen, how many outputs and gradient entries
    were not finite, whether the first gradient was zero, forward and backward passes, and when an adversarial point
    was first found. ``images`` are the adversarial images by example, of the target that won: the first rank of those
    that succeed, or with ``by_clock`` the first in the search's own time, ties by rank. Neither depends on the order
    of the jobs. bool [n] ``certain`` marks examples that only the reference searches; ``earlier`` [n, 2] are the
    forward and backward passes made before they became so.
    """

    n: int
    n_targets: int
    by_clock: bool
    device: torch.device
    status: npt.NDArray[np.int8] = field(init=False)
    notes: dict[str, npt.NDArray[np.float64]] = field(init=False)
    images: dict[int, Tensor] = field(default_factory=dict)
    winners: npt.NDArray[np.int64] = field(init=False)
    certain: npt.NDArray[np.bool_] = field(init=False)
    earlier: npt.NDArray[np.float64] = field(init=False)
    changed: set[int] = field(default_factory=set)
    _best: Tensor = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.n, self.n_targets)
        self.status = np.full(shape, PENDING, dtype=np.int8)
        self.notes = {name: np.full(shape, np.inf if name == "least" else 0.0) for name in _NOTED}
        self.winners = np.full(self.n, NEVER, dtype=np.int64)
        self.certain = np.zeros(self.n, dtype=np.bool_)
        self.earlier = np.zeros((self.n, 2))
        self._best = torch.full((self.n,), NEVER, dtype=torch.int64, device=self.device)

    def _order(self, rows: Rows, clock: Tensor) -> Tensor:
        return clock * self.n_targets + rows["rank"] if self.by_clock else rows["rank"]

    def settle(self, rows: Rows) -> Rows:
        """Return the rows, done where another target of their example has come first whatever they still find."""
        if self.n_targets == 1:
            return rows
        found = self._order(rows, rows["found_at"])
        orders = torch.where(rows["broken"], found, NEVER)
        self._best.scatter_reduce_(0, rows["example"], orders, "amin")
        possible = torch.where(rows["broken"], found, self._order(rows, rows["clock"]))
        return rows | {"done": rows["done"] | (self._best[rows["example"]] < possible)}

    def open_jobs(self, jobs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the jobs [k, 2] that can still win; the others are dropped."""
        best = self._best.cpu().numpy()[jobs[:, 0]]
        ranks = np.zeros(len(jobs), np.int64) if self.by_clock else jobs[:, 1]
        lost = best < ranks
        self.status[jobs[lost, 0], jobs[lost, 1]] = DROPPED
        self.changed |= set(jobs[lost, 0].tolist())
        return jobs[~lost]

    def record(self, rows: Rows) -> None:
        """Write down the rows [k] whose search has ended."""
        known = [self._order(rows, rows["found_at"]), self._order(rows, rows["clock"]), self._best[rows["example"]]]
        told = torch.stack([*known, rows["example"], rows["rank"], rows["broken"].long()]).cpu().numpy()
        orders, own, overtaken, examples, ranks, broken = told
        status = np.where(broken > 0, BROKEN, np.where(overtaken < own, DROPPED, FAILED))
        self.status[examples, ranks] = status
        noted = torch.stack([rows[name].double() for name in _NOTED]).cpu().numpy()
        for name, values in zip(_NOTED, noted, strict=True):
            self.notes[name][examples, ranks] = values
        self.changed |= set(examples.tolist())
        winning = [row for row in np.flatnonzero(broken).tolist() if orders[row] < self.winners[examples[row]]]
        if not winning:
            return
        images = rows["found"][torch.tensor(winning, dtype=torch.int64, device=self.device)].cpu()
        for row, image in zip(winning, images, strict=True):
            if orders[row] < self.winners[examples[row]]:
                self.winners[examples[row]] = orders[row]
                self.images[int(examples[row])] = image.clone()  # a view would keep the images of all rows

    def pending(self, examples: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the pending jobs [k, 2] of these examples: all examples at the first rank, then at the second."""
        ranks, rows = np.nonzero(self.status[examples].T == PENDING)
        return np.stack([examples[rows], ranks], axis=1)

    def broken(self) -> npt.NDArray[np.int64]:
        """Return the examples [k] for which an adversarial image was found, in their order."""
        return np.array(sorted(self.images), dtype=np.int64)

    def rank_of(self, example: int) -> int:
        """Return the rank of the target that won."""
        order = int(self.winners[example])
        return order % self.n_targets if self.by_clock else order

    def block(self, start: int, stop: int) -> dict[str, npt.NDArray[np.generic]]:
        """Return what is known of the examples from ``start`` to ``stop`` as arrays, to be stored."""
        held = [example for example in self.broken() if start <= example < stop]
        arrays: dict[str, npt.NDArray[np.generic]] = {"status": self.status[start:stop].copy()}
        arrays |= {f"notes-{name}": note[start:stop].copy() for name, note in self.notes.items()}
        for name in _BY_EXAMPLE:
            arrays[name] = getattr(self, name)[start:stop].copy()
        if held:
            arrays["images"] = np.stack([self.images[example].numpy() for example in held])
        return arrays

    def restore(self, start: int, arrays: Mapping[str, npt.NDArray[Any]], rows: npt.NDArray[np.int64]) -> None:
        """Take over rows [k] of a stored block that begins at ``start``."""
        places = start + rows
        self.status[places] = arrays["status"][rows]
        for name in _NOTED:
            self.notes[name][places] = arrays[f"notes-{name}"][rows]
        for name in _BY_EXAMPLE:
            getattr(self, name)[places] = arrays[name][rows]
        held, taken = np.flatnonzero(arrays["winners"] < NEVER).tolist(), set(rows.tolist())
        for row, image in zip(held, arrays.get("images", np.empty(0)), strict=True):
            if row in taken:
                self.images[start + row] = torch.from_numpy(np.array(image))
        self._best = torch.from_numpy(self.winners.copy()).to(self.device)

    def reopen(self, examples: npt.NDArray[np.int64]) -> None:
        """Make every job of these examples [k] pending again, for the reference alone to search."""
        self.certain[examples] = True
        self.earlier[examples] += np.stack([self.used(name)[examples] for name in ("forward", "backward")], axis=1)
        for name, note in self.notes.items():
            note[examples] = np.inf if name == "least" else 0.0
        self.status[examples] = PENDING
        self.winners[examples] = NEVER
        self._best[torch.from_numpy(examples).to(self.device)] = NEVER
        for example in examples.tolist():
            self.images.pop(example, None)
        self.changed |= set(examples.tolist())

    def used(self, name: str) -> npt.NDArray[np.float64]:
        """Return the sum of a note over the targets, [n]."""
        return np.asarray(self.notes[name].sum(1), dtype=np.float64)


def finished(rows: Rows) -> tuple[Rows, Rows]:
    """Return the rows whose search has ended, and the others."""
    done = rows["done"]
    return take(rows, done.nonzero()[:, 0]), take(rows, (~done).nonzero()[:, 0])
