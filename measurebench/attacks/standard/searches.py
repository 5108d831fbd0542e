"""The searches: what one pass of the network means to the rows of each attack."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from measurebench.attacks.standard import apgd, fab, losses, square, streams
from measurebench.attacks.standard.passes import Passes
from measurebench.attacks.standard.rows import Rows, choose, some
from measurebench.attacks.standard.search_base import Accept, BaseSearch, Search
from measurebench.attacks.standard.settings import StandardSettings
from measurebench.core.threat import Norm, ThreatModel

__all__ = ["APGDSearch", "FABSearch", "SquareSearch", "search_for"]

Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
_AHEAD = 64  # iterations of Square whose numbers are drawn together
# Candidates of a row tried at once. Late in the search one in a few hundred improves its row, so few are in vain;
# where a pass costs the same for every image, on anything but tiny images, even these few are felt.
_MOST, _MOST_OF_LARGE, _LARGE = 16, 4, 1024


@dataclass
class APGDSearch(BaseSearch):
    """Auto-PGD on one loss; the last misclassified point counts.

    The judge sees a row's first candidate, those of narrow margins, and the last one. Should it reject the last, the
    first counts, ``sure`` [n, ...].
    """

    loss: Loss = losses.cross_entropy

    @property
    def n_passes(self) -> int:
        """One pass more than there are steps: the last point is judged too."""
        return self.settings.apgd_steps + 1

    def start(self, rows: Rows) -> Rows:
        """Return the rows [n] at their random starts."""
        image = rows["image"]
        first = rows["rank"] * image[0].numel()
        draw = streams.uniform if self.threat.norm is Norm.LINF else streams.normal
        noise = draw(rows["key"], first, image.shape[1:], *self.stream, dtype=image.dtype)
        noise = 2 * noise - 1 if self.threat.norm is Norm.LINF else noise
        self.checkpoints = apgd.Checkpoints.after(self.settings.apgd_steps, self.settings.rho, image)
        return rows | {"sure": image} | apgd.start(image, noise, self.threat.norm, self.threat.radius)

    def advance(self, rows: Rows) -> Rows:
        """Return the rows [n] after one gradient."""
        active, label, target = ~rows["done"], rows["label"], rows["target"]
        logits, loss, gradient = self.passes.gradients_of(
            rows["point"], lambda logits, part: self.loss(logits, label[part], target[part])
        )
        rows, wrong = self.seen(rows, logits, active)
        rows = self._found(rows, wrong, logits)
        loss = torch.where(loss.isnan(), -torch.inf, loss)  # or it would be the largest for ever
        if some(first := rows["passes"] == 0):
            rows["flat"] = torch.where(first, ~gradient.flatten(1).any(1), rows["flat"])
        rows = self.counted(rows, active)
        rows = apgd.advance(rows, loss, gradient, self.checkpoints, self.threat.norm, self.threat.radius)
        rows["clock"] = rows["passes"]
        over = rows["passes"] > self.settings.apgd_steps
        if self.accept is not None:
            rows = self._confirmed(rows, active & over & rows["broken"])
        return self.ended(rows, over)

    def _found(self, rows: Rows, wrong: Tensor, logits: Tensor) -> Rows:
        """Keep the misclassified points, and the first one that the judge has confirmed."""
        if self.accept is None or self.slack is None:
            return self.kept(rows, rows["point"], wrong)
        broken = rows["broken"]
        clear = broken & (losses.margin(logits, rows["label"]) < -self.slack[rows["example"]])
        rows = self.kept(rows, rows["point"], self.accepted(rows, rows["point"], wrong, clear))
        if some(new := rows["broken"] & ~broken):
            rows["sure"] = choose(new, rows["found"], rows["sure"])
        return rows

    def _confirmed(self, rows: Rows, ending: Tensor) -> Rows:
        """Return the rows, those that end with a point that the judge rejects with their first one."""
        if not some(ending):
            return rows
        confirmed = self.accepted(rows, rows["found"], ending)
        return rows | {"found": choose(ending & ~confirmed, rows["sure"], rows["found"])}


@dataclass
class FABSearch(BaseSearch):
    """Targeted FAB without restarts; the nearest point counts, within the radius."""

    @property
    def n_passes(self) -> int:
        """One pass for each step."""
        return self.settings.fab_steps

    def start(self, rows: Rows) -> Rows:
        """Return the rows [n] at their images."""
        return rows | fab.start(rows["image"])

    def advance(self, rows: Rows) -> Rows:
        """Return the rows [n] after one step of those whose gradient was wanted at the point they are at.

        A gradient pass gives the verdict too. Only beyond the boundary its gradient is of no use, so a row pays for
        verdicts of their own once it has crossed, and at its end.
        """
        active, label, target = ~rows["done"], rows["label"], rows["target"]
        logits, gap, gradient = self.passes.gradients_of(
            rows["point"], lambda logits, part: losses.towards(logits, label[part], target[part])
        )
        rows = self.counted(rows, active)
        unsettled = active & ~rows["settled"]
        ready = active
        if some(unsettled):
            rows, wrong = self._judged(rows, logits, unsettled)
            ready = ~wrong
        gap = torch.where(gap.isfinite(), gap, 0.0)
        rows = fab.advance(rows, ready, gap, gradient, self.threat.norm)
        rows["clock"] = rows["iteration"]
        over = rows["iteration"] >= self.settings.fab_steps
        wanted = ~rows["settled"] & (rows["crossed"] | over) & active
        index = wanted.nonzero()[:, 0]
        if len(index):
            rows["forward"] = rows["forward"] + wanted
            rows, _ = self._judged(rows, self._verdicts(rows["point"], index, logits), wanted)
        return self.ended(rows, rows["settled"] & over)

    def _verdicts(self, points: Tensor, index: Tensor, like: Tensor) -> Tensor:
        """Return the logits [n, K] at the points that ``index`` names; the others' mean nothing."""
        if len(index) == len(points):
            return self.passes.logits(points)
        return like.index_put((index,), self.passes.logits(points[index]))

    def _judged(self, rows: Rows, logits: Tensor, which: Tensor) -> tuple[Rows, Tensor]:
        """Take the verdicts of these rows, bool [n], and keep what is nearer."""
        point, least = rows["point"], rows["least"]
        rows, wrong = self.seen(rows, logits, which)
        rows, nearer, distance = fab.judged(rows, which, wrong, self.threat.norm)
        near = distance <= self.threat.radius
        # FAB walks along the boundary wherever it lies; outside the ball a small margin is no near miss.
        rows["least"] = torch.where(near, rows["least"], least)
        accepted = self.accepted(rows, point, nearer & near)
        rows["distance"] = torch.where(nearer & (accepted | ~near), distance, rows["distance"])
        return self.kept(rows, point, accepted), wrong


@dataclass
class SquareSearch(BaseSearch):
    """Square Attack; it ends at its first adversarial point.

    ``at_once`` is how many candidates all rows together try in a pass, ``candidates`` how many one row tries if set.
    """

    candidates: int | None = None
    at_once: int = 1
    # What the host knows without a look at the device: whether rows have come that the network has not seen, and how
    # many of the numbers drawn ahead are surely left.
    _fresh: bool = False
    _left: int = 0

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
        zero = torch.zeros_like(rows["key"])
        numbers = streams.uniform(rows["key"], zero, (self.n_first,), *self.stream, dtype=image.dtype)
        state = square.start(image, square.first_points(image, numbers, self.plan), self.plan)
        width = square.n_numbers(shape[0], norm)
        drawn = torch.zeros(len(image), _AHEAD, width, dtype=image.dtype, device=image.device)
        self._fresh, self._left = True, 0
        return rows | state | {"drawn": drawn, "drawn_from": zero}

    def advance(self, rows: Rows) -> Rows:
        """Return the rows [n] after their next candidates."""
        active = ~rows["done"]
        if self._fresh and some(fresh := torch.isinf(rows["best_margin"])):
            points = rows["best"][:, None]
            active = active & fresh
        else:
            points = square.proposals(rows, self._numbers(rows), self.plan)
        self._fresh = False
        n, k = points.shape[:2]
        logits = self.passes.logits(points.flatten(0, 1))
        labels = rows["label"].repeat_interleave(k)
        margins = losses.margin(logits, labels).reshape(n, k)
        wrong = (logits.argmax(1) != labels).reshape(n, k) & margins.isfinite()
        odd = ~margins.isfinite()
        if some(odd):
            rows["odd"] = rows["odd"] + active * odd.sum(1)
            margins = margins.masked_fill(odd, torch.finfo(margins.dtype).max)
        rows = square.absorb(rows, points, margins, wrong, active, self.plan)
        # The best point stays where it is once a row is done, and only then it is read.
        rows |= {"found": rows["best"], "least": rows["best_margin"], "clock": rows["iteration"]}
        rows["forward"] = rows["forward"] + active * k
        accepted = self.accepted(rows, rows["best"], rows.pop("hit"))
        rows |= {"found_at": rows["clock"], "broken": rows["broken"] | accepted}
        return self.ended(rows, rows["broken"] | (rows["iteration"] >= self.settings.square_queries))

    def _numbers(self, rows: Rows) -> Tensor:
        """Return the random numbers of the rows' next iterations, [n, k, m]; many are drawn at once and kept."""
        width = square.n_numbers(rows["image"].shape[1], self.threat.norm)
        most = _MOST_OF_LARGE if rows["image"][0].numel() > _LARGE else _MOST
        tried = self.candidates or max(1, min(most, self.at_once // len(rows["key"])))
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


def search_for(
    attack: str,
    passes: Passes,
    threat: ThreatModel,
    settings: StandardSettings,
    seed: int,
    accept: Accept | None,
    slack: Tensor | None = None,
    at_once: int = 1,
) -> Search:
    """Return the search of this name; ``accept`` is None where the network that searches is the judge.

    ``slack`` [n] bounds how far the margins of the two networks are apart at each example, with some room.
    """
    common = (passes, threat, settings, (seed, "standard", attack), accept, slack)
    if attack == "apgd-ce":
        return APGDSearch(*common, loss=losses.cross_entropy)
    if attack == "apgd-t":
        return APGDSearch(*common, loss=losses.dlr_targeted)
    return FABSearch(*common) if attack == "fab-t" else SquareSearch(*common, settings.candidates, at_once)
