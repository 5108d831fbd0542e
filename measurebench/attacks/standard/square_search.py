"""The search of Square: what one pass of the network means to its rows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from measurebench.attacks.standard import losses, repeats, square, streams
from measurebench.attacks.standard.rows import Rows, some
from measurebench.attacks.standard.search_base import BaseSearch
from measurebench.core.threat import Norm

__all__ = ["SquareSearch"]

# Iterations whose numbers are drawn together.
_AHEAD, _AHEAD_OF_SMALL = 64, 256
# Candidates of a row tried at once. Late in the search one in a few hundred improves its row, so few are in vain;
# where a pass costs the same for every image, on anything but tiny images, even these few are felt.
_MOST, _MOST_OF_LARGE, _LARGE = 16, 4, 1024
# Searches on large images from which on picking out candidates pays: it takes about as long as 20 passes of a small
# network, and makes more passes.
_ENOUGH_OF_LARGE = 32
# After an improvement another one is likely soon, and what was tried beside it was tried in vain. A row that picks its
# candidates tries one more of them for every so many iterations without success.
_PATIENCE, _PATIENCE_OF_LARGE = 2, 32


@dataclass
class SquareSearch(BaseSearch):
    """Square Attack; it ends at its first adversarial point.

    ``at_once`` is how many candidates all rows together try in a pass, ``candidates`` how many one row tries if set.
    With ``same`` the network gives an image the same logits at every call, so what it has seen is not shown again.
    """

    candidates: int | None = None
    at_once: int = 1
    same: bool = True
    # What the host knows without a look at the device: whether rows have come that the network has not seen, and how
    # many of the numbers drawn ahead are surely left.
    _fresh: bool = False
    _left: int = 0
    # Whether candidates of known outcome are left out, which the first rows decide.
    _skips: bool | None = None

    @property
    def n_passes(self) -> int:
        """As many passes as there are queries, and one for the first point."""
        return self.settings.square_queries + 1

    def start(self, rows: Rows) -> Rows:
        """Return the rows [n] at their first points, or where a snapshot left them."""
        image = rows["image"]
        shape, norm = image.shape[1:], self.threat.norm
        self.plan = square.Plan.of(image, norm, self.threat.radius, self.settings.square_queries)
        self.n_first = square.n_first_numbers(shape, norm)
        self._large = image[0].numel() > _LARGE
        if self._skips is None:
            # Picking out single moves would make the host of a GPU wait.
            small = repeats.n_moves(shape) <= repeats.LARGEST_TABLE and image.device.type == "cpu"
            many = not self._large or len(image) >= _ENOUGH_OF_LARGE
            self._skips = self.same and norm is Norm.LINF and small and many
        zero = torch.zeros_like(rows["key"])
        numbers = streams.uniform(rows["key"], zero, (self.n_first,), *self.stream, dtype=image.dtype)
        rows = rows | square.start(image, square.first_points(image, numbers, self.plan), self.plan)
        self._fresh, self._left = True, 0
        if self._skips:
            return repeats.start(rows, _AHEAD if self._large else _AHEAD_OF_SMALL, self.n_first)
        drawn = torch.zeros(
            len(image), _AHEAD, square.n_numbers(shape[0], norm), dtype=image.dtype, device=image.device
        )
        return rows | {"drawn": drawn, "drawn_from": zero}

    def advance(self, rows: Rows) -> Rows:
        """Return the rows [n] after their next candidates."""
        active = ~rows["done"]
        if self._fresh and some(fresh := torch.isinf(rows["best_margin"])):
            rows = self._first_seen(rows, active & fresh)
        else:
            rows = self._unknown_tried(rows, active) if self._skips else self._tried(rows, active)
        self._fresh = False
        # The best point stays where it is once a row is done, and only then it is read.
        rows |= {"found": rows["best"], "least": rows["best_margin"], "clock": rows["iteration"]}
        accepted = self.accepted(rows, rows["best"], rows.pop("hit"))
        rows |= {"found_at": rows["clock"], "broken": rows["broken"] | accepted}
        return self.ended(rows, rows["broken"] | (rows["iteration"] >= self.settings.square_queries))

    def _seen(self, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return margins, which points [m, ...] of these labels [m] are misclassified, and what is not finite, [m]."""
        logits = self.passes.logits(points)
        margins = losses.margin(logits, labels)
        odd = ~margins.isfinite()
        wrong = (logits.argmax(1) != labels) & ~odd
        return margins.masked_fill(odd, torch.finfo(margins.dtype).max), wrong, odd

    def _first_seen(self, rows: Rows, active: Tensor) -> Rows:
        """Return the rows after a pass at the first points of the active ones, bool [n]."""
        if rows["best"].device.type != "cpu":
            return self._absorbed(rows, rows["best"][:, None], active)
        index = active.nonzero()[:, 0]
        margins, wrong, odd = self._seen(rows["best"][index], rows["label"][index])
        at = (index,)
        return rows | {
            "best_margin": rows["best_margin"].index_put(at, margins),
            "hit": torch.zeros_like(active).index_put(at, wrong),
            "odd": rows["odd"].index_add(0, index, odd.long()),
            "forward": rows["forward"] + active,
        }

    def _tried(self, rows: Rows, active: Tensor) -> Rows:
        """Return the rows after a pass at the candidates of their next iterations."""
        return self._absorbed(rows, square.proposals(rows, self._numbers(rows), self.plan), active)

    def _absorbed(self, rows: Rows, points: Tensor, active: Tensor) -> Rows:
        """Return the rows after a pass at their candidates [n, k, ...]."""
        n, k = points.shape[:2]
        seen = self._seen(points.flatten(0, 1), rows["label"].repeat_interleave(k))
        margins, wrong, odd = (part.reshape(n, k) for part in seen)
        counted = {"odd": rows["odd"] + active * odd.sum(1), "forward": rows["forward"] + active * k}
        return square.absorb(rows | counted, points, margins, wrong, active, self.plan)

    def _unknown_tried(self, rows: Rows, active: Tensor) -> Rows:
        """Return the rows after a pass at those of their next candidates whose outcome is not known."""
        in_vain = rows["iteration"] - rows["improved_at"]
        most = 1 + in_vain // (_PATIENCE_OF_LARGE if self._large else _PATIENCE)
        most = most.clamp_max(self._most(len(active)))
        moves = repeats.chosen(rows, active, most, self.stream, self.plan)
        needed, points = repeats.proposals(rows, moves, self.plan)
        row = moves.row[needed]
        if len(row):
            margins, wrong, odd = self._seen(points, rows["label"][row])
            counted = {"odd": rows["odd"].index_add(0, row, odd.long())}
            counted["forward"] = rows["forward"].index_add(0, row, torch.ones_like(row))
        else:
            margins, wrong, counted = points.new_zeros(0), row > 0, {}
        after = repeats.absorb(rows | counted, moves, needed, points, margins, wrong)
        return repeats.remembered(rows, after, moves, self.plan)

    def _most(self, n: int) -> int:
        """Return how many candidates each of n rows tries at once."""
        if self.candidates:
            return self.candidates
        return max(1, min(_MOST_OF_LARGE if self._large else _MOST, self.at_once // n))

    def _numbers(self, rows: Rows) -> Tensor:
        """Return the random numbers of the rows' next iterations, [n, k, m]; many are drawn at once and kept."""
        width = square.n_numbers(rows["image"].shape[1], self.threat.norm)
        tried = self._most(len(rows["key"]))
        ahead = rows["iteration"][:, None] + torch.arange(tried, device=rows["key"].device)
        held, since = rows["drawn"], rows["drawn_from"]
        if tried > self._left:
            self._left = _AHEAD
            since = rows["iteration"]
            first = self.n_first + since * width
            shape = (_AHEAD, width)
            held = streams.uniform(rows["key"], first, shape, *self.stream, dtype=rows["image"].dtype)
            rows |= {"drawn": held, "drawn_from": since}
        self._left -= tried  # a row uses as many at most
        place = ahead - since[:, None]
        return held[torch.arange(len(held), device=held.device)[:, None], place]
