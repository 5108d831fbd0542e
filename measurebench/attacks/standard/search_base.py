"""What the searches of all attacks share: a row's record, the judge's part, and how a search ends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from measurebench.attacks.standard import losses
from measurebench.attacks.standard.passes import Passes
from measurebench.attacks.standard.rows import Rows, choose, some
from measurebench.attacks.standard.settings import StandardSettings
from measurebench.core.threat import ThreatModel

__all__ = ["LOOK_EVERY", "Accept", "BaseSearch", "Search", "begun"]

LOOK_EVERY = 4  # passes between looks at a GPU for rows that have ended before their time
# Which of the points [k, ...] (of images [k, ...], labels [k]) really are adversarial: bool [k].
Accept = Callable[[Tensor, Tensor, Tensor], Tensor]


class Search(Protocol):
    """One attack on many rows."""

    @property
    def n_passes(self) -> int:
        """How many passes a row takes that nothing ends sooner."""

    def start(self, rows: Rows) -> Rows:
        """Return the rows [n] with the attack's state beside what ``begun`` gave them."""

    def advance(self, rows: Rows) -> Rows:
        """Return the rows [n] after one more pass; ``done`` marks those whose search has ended."""

    def n_done(self, rows: Rows) -> int:
        """Return how many rows have ended; for this the host may wait for the device once."""


def begun(images: Tensor, labels: Tensor, targets: Tensor, keys: Tensor, examples: Tensor, ranks: Tensor) -> Rows:
    """Return what every search keeps for its rows: the job, and what was found (images [n, ...], the rest [n])."""
    zeros = torch.zeros_like(examples)
    return {
        "image": images,
        "label": labels,
        "target": targets,
        "key": keys,
        "example": examples,
        "rank": ranks,
        "done": zeros > 0,
        "broken": zeros > 0,
        "found": images,
        "clock": zeros,
        "found_at": zeros,
        "least": torch.full(zeros.shape, torch.inf, dtype=images.dtype, device=images.device),
        "odd": zeros,
        "odd_gradients": zeros,
        "flat": zeros > 0,
        "forward": zeros,
        "backward": zeros,
    }


@dataclass
class BaseSearch:
    """What the searches share: ``accept`` judges candidates where the searching network is not the judge itself.

    Beyond ``slack`` [n examples] the two networks' margins have the same sign, as far as calibration tells; None where
    the judge searches.
    """

    passes: Passes
    threat: ThreatModel
    settings: StandardSettings
    stream: tuple[object, ...]
    accept: Accept | None = None
    slack: Tensor | None = None

    @property
    def first(self) -> bool:
        """Whether a search ends with the first adversarial point."""
        return self.settings.returns == "first"

    def n_done(self, rows: Rows) -> int:
        """Return how many rows have ended."""
        return int(rows["done"].sum())

    def seen(self, rows: Rows, logits: Tensor, active: Tensor) -> tuple[Rows, Tensor]:
        """Note margins and what is not finite; return which points the network takes for another class, bool [n].

        ``logits`` [n, K] are those at the rows' points; rows that are not ``active`` bool [n] note nothing.
        """
        margins = losses.margin(logits, rows["label"])
        finite = torch.isfinite(logits).all(1)
        noted = active & finite
        changed = {
            "least": torch.where(noted, torch.minimum(rows["least"], margins), rows["least"]),
            "odd": rows["odd"] + (active & ~finite),
        }
        return rows | changed, noted & (logits.argmax(1) != rows["label"])

    def counted(self, rows: Rows, active: Tensor, back: Tensor) -> Rows:
        """Count passes of the ``active`` rows, bool [n], of those that went ``back``, and what was not finite there."""
        counted = {"forward": rows["forward"] + active, "backward": rows["backward"] + back}
        if self.passes.odd is not None:
            counted["odd_gradients"] = rows["odd_gradients"] + self.passes.odd * active
        return rows | counted

    def accepted(self, rows: Rows, points: Tensor, wrong: Tensor, clear: Tensor | None = None) -> Tensor:
        """Return which candidates the judge confirms, bool [n]; the ``clear`` ones bool [n] it need not see now."""
        if self.accept is None:
            return wrong
        index = (wrong if clear is None else wrong & ~clear).nonzero()[:, 0]
        if not len(index):
            return wrong
        confirmed = self.accept(rows["image"][index], points[index], rows["label"][index])
        return wrong.index_put((index,), confirmed)

    def kept(self, rows: Rows, points: Tensor, accepted: Tensor) -> Rows:
        """Keep the accepted points, bool [n] of ``points`` [n, ...], and when the first one came."""
        if not some(accepted):
            return rows
        return rows | {
            "found": choose(accepted, points, rows["found"]),
            "found_at": torch.where(accepted & ~rows["broken"], rows["clock"], rows["found_at"]),
            "broken": rows["broken"] | accepted,
        }

    def ended(self, rows: Rows, over: Tensor) -> Rows:
        """Mark the rows whose search is over, bool [n], or has found what it was to find."""
        over = rows["done"] | over
        return rows | {"done": over | rows["broken"] if self.first else over}
