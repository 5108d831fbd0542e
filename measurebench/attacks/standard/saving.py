"""Saving the ledger of an attack, block by block, and taking it up again after an interruption."""

import hashlib
import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from measurebench.attacks.standard.blocks import Arrays, Store
from measurebench.attacks.standard.jobs import NEVER, Ledger
from measurebench.attacks.standard.rows import Rows, choose

__all__ = ["BLOCK", "Saver", "marks"]

BLOCK = 256  # examples of a block
_SNAPSHOT = ("best", "best_margin", "iteration", "least", "odd", "forward", "clock")


def marks(images: torch.Tensor, labels: torch.Tensor, keys: torch.Tensor) -> npt.NDArray[np.int64]:
    """Return a digest of each image [n, ...] with its label [n] and key [n], int64 [n]."""
    columns = (images.detach().flatten(1).cpu(), labels[:, None].cpu(), keys[:, None].cpu())
    rows = zip(*(np.ascontiguousarray(column.numpy()) for column in columns), strict=True)
    digests = (hashlib.blake2b(b"".join(part.tobytes() for part in row), digest_size=8).digest() for row in rows)
    return np.frombuffer(b"".join(digests), dtype=np.int64)


@dataclass
class Saver:
    """Keeps the blocks of one attack in a store, at most every ``seconds``.

    ``identity`` names what all examples share, and ``marks`` int64 [n] what is each example's own: a stored example
    is taken over where both are as they were, whatever is attacked beside it; stored examples beyond those of this
    evaluation stay in their block. The rows of Square on their way are kept too. Other searches last a hundred passes
    and begin again.
    """

    store: Store | None
    attack: str
    identity: str
    marks: npt.NDArray[np.int64]
    ledger: Ledger
    seconds: float = 60.0
    _last: float = field(default_factory=time.monotonic)
    # Rows of Square that were on their way and have not entered the pool again, by example.
    _flight: dict[int, dict[str, torch.Tensor]] = field(default_factory=dict)
    # Stored blocks that go on beyond this evaluation's last example, with how many of their examples it has.
    _beyond: dict[int, tuple[Arrays, int]] = field(default_factory=dict)

    def _name(self, block: int) -> str:
        # The digest keeps evaluations with other settings from overwriting each other's blocks.
        return f"{self.attack}-{self.identity[:12]}-{block:05d}"

    def restore(self, first: int = 0, last: int | None = None) -> None:
        """Take over what the store holds whole and of this evaluation, of the examples ``first`` to ``last``.

        Blocks of other examples may be another process's, which is writing them: a save writes back what was restored.
        """
        end = self.ledger.n if last is None else last
        for block in range(first // BLOCK, -(-end // BLOCK)) if self.store else ():
            assert self.store is not None
            arrays = self.store.get(self._name(block))
            if arrays is None or str(arrays["identity"]) != self.identity:
                continue
            start, known = block * BLOCK, min(len(arrays["marks"]), self.ledger.n - block * BLOCK)
            if known < len(arrays["marks"]):
                self._beyond[block] = arrays, known
            rows = np.flatnonzero(arrays["marks"][:known] == self.marks[start : start + known])
            self.ledger.restore(start, arrays, rows)
            for row, example in enumerate(arrays.get("flight-example", ())):
                if example - start not in rows:
                    continue
                names = {name: torch.from_numpy(np.array(arrays[f"flight-{name}"][row])) for name in _SNAPSHOT}
                self._flight[int(example)] = names

    def resumed(self, rows: Rows) -> Rows:
        """Return fresh rows, those with a snapshot as it was."""
        if not self._flight:
            return rows
        examples = rows["example"].tolist()
        held = torch.tensor([example in self._flight for example in examples], device=rows["example"].device)
        flight = {example: self._flight.pop(example) for example in examples if example in self._flight}
        rows = dict(rows)
        for name in _SNAPSHOT:
            values = [flight[e][name].to(rows[name]) if e in flight else rows[name][i] for i, e in enumerate(examples)]
            rows[name] = choose(held, torch.stack(values), rows[name])
        return rows

    def after_pass(self, rows: Rows) -> None:
        """Save, if it is time."""
        if self.store is not None and time.monotonic() - self._last >= self.seconds:
            self.save(rows)

    def save(self, rows: Rows | None = None) -> None:
        """Write the blocks that have changed, with the rows of Square that are on their way."""
        if self.store is None:
            return
        flight = self._waiting(self._snapshot(rows) if rows is not None and "best_margin" in rows else {})
        touched = self.ledger.changed | {int(e) for e in flight.get("flight-example", ())}
        for block in sorted({example // BLOCK for example in touched}):
            start, stop = block * BLOCK, min((block + 1) * BLOCK, self.ledger.n)
            arrays: Arrays = {"identity": np.array(self.identity), "marks": self.marks[start:stop]}
            arrays |= self.ledger.block(start, stop)
            if flight:
                inside = flight["flight-example"] // BLOCK == block
                arrays |= {name: values[inside] for name, values in flight.items()}
            if block in self._beyond:
                arrays = _extended(arrays, *self._beyond[block], start)
            self.store.put(self._name(block), arrays)
        self.ledger.changed.clear()
        self._last = time.monotonic()

    def _snapshot(self, rows: Rows) -> Arrays:
        """Return the rows whose search goes on and has begun."""
        alive = (~rows["done"] & torch.isfinite(rows["best_margin"])).nonzero()[:, 0]
        arrays = {f"flight-{name}": rows[name][alive].cpu().numpy() for name in _SNAPSHOT}
        return arrays | {"flight-example": rows["example"][alive].cpu().numpy()}

    def _waiting(self, flight: Arrays) -> Arrays:
        """Return the snapshot with the rows that wait since the last interruption, so that a second one keeps them."""
        if not self._flight:
            return flight
        examples = np.array(list(self._flight), dtype=np.int64)
        waiting = {
            f"flight-{name}": np.stack([held[name].cpu().numpy() for held in self._flight.values()])
            for name in _SNAPSHOT
        } | {"flight-example": examples}
        return {name: np.concatenate([flight[name], values]) if flight else values for name, values in waiting.items()}


def _extended(arrays: Arrays, stored: Arrays, known: int, start: int) -> Arrays:
    """Return the arrays of a block's first ``known`` examples [known, ...], and after them those that are stored.

    ``start`` is the block's first example.
    """
    held = np.flatnonzero(stored["winners"] < NEVER)
    whole = dict(arrays)
    for name, values in stored.items():
        if name == "identity":
            continue
        if name == "images":
            rest = values[held >= known]
        else:
            rest = values[stored["flight-example"] >= start + known] if name.startswith("flight-") else values[known:]
        whole[name] = np.concatenate([arrays[name], rest]) if name in arrays else rest
    return whole
