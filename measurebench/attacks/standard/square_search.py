"""The search of Square: what one pass of the network means to its rows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from measurebench.attacks.standard import losses, repeats, square, streams
from measurebench.attacks.standard.rows import Rows, some
from measurebench.attacks.standard.search_base import LOOK_EVERY, BaseSearch
from measurebench.core.threat import Norm

__all__ = ["SquareSearch"]

# Iterations whose numbers are drawn together.
_AHEAD, _AHEAD_OF_SMALL = 64, 256
# Candidates of a row tried at once. Early in the search one in twenty improves its row, on tiny images late in it one
# in a few hundred, and what was tried beside it was in vain. On larger images a CPU takes as long for every image of a
# pass, and rows with little to spare need as many passes as ever: with 6 to 19 rows, one candidate at a time took 0.76
# to 0.87 of the time.
_MOST, _MOST_OF_LARGE, _LARGE = 16, 4, 1024
# After an improvement another one is likely soon, and what was tried beside it was tried in vain. A row that picks its
# candidates tries one more of them for every so many iterations without success.
_PATIENCE = 2


@dataclass
class SquareSearch(BaseSearch):
    """Square Attack; it ends at its first adversarial point.

    ``at_once`` is how many candidates all rows together try in a pass, ``candidates`` how many one row tries if set.
    With ``same`` the network gives an image the same logits at every call, so what it has seen is not shown again.
    ``spare`` [n examples] is how many passes in vain each example may cost in all; None where none may.
    """

    candidates: int | None = None
    at_once: int = 1
    same: bool = True
    spare: Tensor | None = None
    # What the host knows without a look at the device: whether rows have come that the network has not seen, how many
    # of the moves drawn ahead are surely left, and the place of all rows' next move where it is the same.
    _fresh: bool = False
    _left: int = 0
    _next: int | None = None
    # How many rows may surely try several candidates until the next look, those with the most passes to spare.
    _n_several: int = 0
    _look: int = 0
    # Whether candidates of known outcome are left out, which the shape of the first rows decides.
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
        self._large, self._on_cpu = image[0].numel() > _LARGE, image.device.type == "cpu"
        if self._skips is None:
            # Picking out single moves would make the host of a GPU wait. On large images one move in a hundred repeats
            # another, and picking takes half as long again as showing all of them to a small network.
            few_moves = not self._large and repeats.n_moves(shape) <= repeats.LARGEST_TABLE
            self._skips = self.same and norm is Norm.LINF and few_moves and image.device.type == "cpu"
        zero = torch.zeros_like(rows["key"])
        numbers = streams.uniform(rows["key"], zero, (self.n_first,), *self.stream, dtype=image.dtype)
        rows = rows | square.start(image, square.first_points(image, numbers, self.plan), self.plan)
        self._fresh, self._left = True, 0
        if self._skips:
            return repeats.start(rows, _AHEAD_OF_SMALL, self.n_first)
        self._n_several = self._look = 0
        return rows | self._drawn(rows)

    def advance(self, rows: Rows) -> Rows:
        """Return the rows [n] after their next candidates."""
        active = ~rows["done"]
        if self._fresh and some(fresh := torch.isinf(rows["best_margin"])):
            rows = self._first_seen(rows, active & fresh)
        else:
            rows = self._unknown_tried(rows, active) if self._skips else self._tried(rows, active)
        self._fresh = False
        # The best point stays where it is once a row is done, and only then it is read.
        iteration = rows["iteration"]
        rows |= {"found": rows["best"], "least": rows["best_margin"], "clock": iteration, "found_at": iteration}
        hit = rows.pop("hit", None)
        if hit is not None and some(hit):
            rows["broken"] = rows["broken"] | self.accepted(rows, rows["best"], hit)
        return self.ended(rows, rows["broken"] | (iteration >= self.settings.square_queries))

    def _seen(self, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return margins, which points [m, ...] of these labels [m] are misclassified, and which are not finite.

        Each is [m]; the last two are None where a CPU shows at once that there are none.
        """
        logits = self.passes.logits(points)
        margins = losses.margin(logits, labels)
        if margins.device.type == "cpu":
            least, largest = margins.aminmax()
            if float(least) > 0 and float(largest) < torch.inf:
                return margins, None, None
        odd = ~margins.isfinite()
        wrong = (logits.argmax(1) != labels) & ~odd
        return margins.masked_fill(odd, torch.finfo(margins.dtype).max), wrong, odd

    def _first_seen(self, rows: Rows, fresh: Tensor) -> Rows:
        """Return the rows after a pass at the first points of the fresh ones, bool [n]."""
        # Picking out rows would make the host of a GPU wait.
        index = fresh.nonzero()[:, 0] if fresh.device.type == "cpu" else torch.arange(len(fresh), device=fresh.device)
        margins, wrong, odd = self._seen(rows["best"][index], rows["label"][index])
        new = fresh[index]
        changed = {"forward": rows["forward"] + fresh}
        changed["best_margin"] = rows["best_margin"].index_copy(
            0, index, torch.where(new, margins, rows["best_margin"][index])
        )
        if odd is not None:
            changed["odd"] = rows["odd"].index_add(0, index, (odd & new).long())
        if wrong is not None:
            changed["hit"] = torch.zeros_like(fresh).index_copy(0, index, wrong & new)
        return rows | changed

    def _tried(self, rows: Rows, active: Tensor) -> Rows:
        """Return the rows after a pass at the next candidate of each, and at several of those that may try so many."""
        tried = self._candidates(rows)
        margins, wrong, odd = self._seen(tried.points, tried.labels)
        counted = {"forward": rows["forward"] + (active if tried.place.shape[1] == 1 else active * tried.count)}
        if odd is not None:
            seen = tried.by_row(odd) & (tried.place >= 0) & active[:, None]
            counted["odd"] = rows["odd"] + seen.sum(1)
        return square.absorb(rows | counted, tried, margins, wrong, active, self.plan)

    def _candidates(self, rows: Rows) -> square.Tried:
        """Return the candidates of one pass."""
        n, label, device = len(rows["key"]), rows["label"], rows["key"].device
        several = n if self.candidates else min(n, self._n_several)
        k = self._most(n) if several else 1
        moves = self._next_moves(rows, k)
        if several in (0, n):
            points = square.moved(rows, moves, self.plan).flatten(0, 1)
            labels = label if k == 1 else label.repeat_interleave(k)
            return square.Tried(points, labels, torch.arange(n * k, device=device).reshape(n, k), k)
        which = self._room(rows).topk(several)[1]
        part = {name: rows[name][which] for name in ("image", "best", "lower", "upper")}
        first = square.moved(rows, {name: move[:, :1] for name, move in moves.items()}, self.plan)
        more = square.moved(part, {name: move[which, 1:] for name, move in moves.items()}, self.plan)
        place = torch.full((n, k), -1, device=device)
        place[:, 0] = torch.arange(n, device=device)
        place[which, 1:] = n + torch.arange(several * (k - 1), device=device).reshape(several, k - 1)
        labels = torch.cat([label, label[which].repeat_interleave(k - 1)])
        return square.Tried(torch.cat([first[:, 0], more.flatten(0, 1)]), labels, place, (place >= 0).sum(1))

    def n_done(self, rows: Rows) -> int:
        """Return how many rows have ended; the same look tells how many may try several candidates until the next."""
        most = self._most(len(rows["done"]))
        if self._skips or self.candidates or most == 1 or self.spare is None:
            return super().n_done(rows)
        done = rows["done"]
        if done.device.type == "cpu" and self._look > 0:
            self._look -= 1
            return super().n_done(rows)
        self._look = LOOK_EVERY - 1
        free = (self._room(rows) >= LOOK_EVERY * (most - 1)) & ~done
        free &= rows["iteration"] + LOOK_EVERY * most <= self.plan.n_queries
        n_done, self._n_several = torch.stack([done.sum(), free.sum()]).tolist()
        return int(n_done)

    def _room(self, rows: Rows) -> Tensor:
        """Return how many candidates more each row may try in vain by now, [n].

        What an example has to spare is spent evenly over the iterations: late in a search less is in vain.
        """
        assert self.spare is not None
        spare = self.spare[rows["example"]]
        return spare * rows["iteration"] // self.plan.n_queries + rows["iteration"] - rows["forward"]

    def _unknown_tried(self, rows: Rows, active: Tensor) -> Rows:
        """Return the rows after a pass at those of their next candidates whose outcome is not known."""
        in_vain = rows["iteration"] - rows["improved_at"]
        most = 1 + in_vain // _PATIENCE
        most = most.clamp_max(self._most(len(active)))
        if self.spare is not None and not self.candidates:
            left = self.spare[rows["example"]] + rows["iteration"] - rows["forward"]
            most = torch.minimum(most, 1 + left.clamp_min(0))
        moves = repeats.chosen(rows, active, most, self.stream, self.plan)
        needed, points = repeats.proposals(rows, moves, self.plan)
        row = moves.row[needed]
        if len(row):
            margins, wrong, odd = self._seen(points, rows["label"][row])
            counted = {"forward": rows["forward"].index_add(0, row, torch.ones_like(row))}
            if odd is not None:
                counted["odd"] = rows["odd"].index_add(0, row, odd.long())
        else:
            margins, wrong, counted = points.new_zeros(0), None, {}
        after = repeats.absorb(rows | counted, moves, needed, points, margins, wrong)
        return repeats.remembered(rows, after, moves, self.plan)

    def _most(self, n: int) -> int:
        """Return how many candidates each of n rows tries at once."""
        if self.candidates:
            return self.candidates
        most = _MOST if not self._large else 1 if self._on_cpu else _MOST_OF_LARGE
        return max(1, min(most, self.at_once // n))

    def _next_moves(self, rows: Rows, tried: int) -> Rows:
        """Return the moves of the rows' next iterations, [n, tried, ...]; many are drawn at once and kept."""
        if tried > self._left:
            rows |= self._drawn(rows)
            self._left, self._next = _AHEAD, 0
        self._left -= tried  # a row uses as many at most
        if self._next is not None:
            place = slice(self._next, self._next + tried)
            # As long as one candidate is tried at a time, all rows that go on are at the same place.
            self._next = self._next + 1 if tried == 1 else None
            return {name: rows[name][:, place] for name in self._moves}
        index = torch.arange(len(rows["key"]), device=rows["key"].device)[:, None]
        at = (rows["iteration"] - rows["drawn_from"])[:, None] + torch.arange(tried, device=index.device)
        return {name: rows[name][index, at] for name in self._moves}

    def _drawn(self, rows: Rows) -> Rows:
        """Return the moves of the rows' next iterations, [n, _AHEAD, ...], and where they begin."""
        image, since = rows["image"], rows["iteration"]
        width = square.n_numbers(image.shape[1], self.threat.norm)
        first = self.n_first + since * width
        numbers = streams.uniform(rows["key"], first, (_AHEAD, width), *self.stream, dtype=image.dtype)
        ahead = since[:, None] + torch.arange(_AHEAD, device=since.device)
        made = square.moves(numbers, self.plan.sizes[ahead.clamp_max(self.plan.n_queries)], self.plan)
        self._moves = tuple(made)
        return made | {"drawn_from": since}
