"""The searches: what one pass of the network means to the rows of each attack."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from measurebench.attacks.standard import apgd, fab, losses, streams
from measurebench.attacks.standard.passes import Passes
from measurebench.attacks.standard.rows import Rows, choose, some
from measurebench.attacks.standard.search_base import Accept, BaseSearch, Search
from measurebench.attacks.standard.settings import StandardSettings
from measurebench.attacks.standard.square_search import SquareSearch
from measurebench.core.threat import Norm, ThreatModel

__all__ = ["APGDSearch", "FABSearch", "SquareSearch", "search_for"]

Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


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
        active = ~rows["done"]
        last = rows["passes"] >= self.settings.apgd_steps
        ending = last.device.type == "cpu" and some(active & last)
        logits, loss, gradient = self._ended(rows, active, last) if ending else self._passed(rows)
        rows, wrong = self.seen(rows, logits, active)
        rows = self._found(rows, wrong, logits)
        loss = torch.where(loss.isnan(), -torch.inf, loss)  # or it would be the largest for ever
        if some(first := rows["passes"] == 0):
            rows["flat"] = torch.where(first, ~gradient.flatten(1).any(1), rows["flat"])
        rows = self.counted(rows, active, active & ~last if ending else active)
        rows = apgd.advance(rows, loss, gradient, self.checkpoints, self.threat.norm, self.threat.radius)
        rows["clock"] = rows["passes"]
        over = rows["passes"] > self.settings.apgd_steps
        if self.accept is not None:
            rows = self._confirmed(rows, active & over & rows["broken"])
        return self.ended(rows, over)

    def _passed(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits [n, K], loss [n] and gradient [n, ...] at the rows' points."""
        label, target = rows["label"], rows["target"]
        return self.passes.gradients_of(
            rows["point"], lambda logits, part: self.loss(logits, label[part], target[part])
        )

    def _ended(self, rows: Rows, active: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the same where ``last`` rows, bool [n], need their logits alone: nothing moves after them."""
        point = rows["point"]
        final, going = ((active & which).nonzero()[:, 0] for which in (last, ~last))
        loss, gradient = point.new_zeros(len(point)), torch.zeros_like(point)
        ends = self.passes.logits(point[final])
        logits = ends.new_zeros(len(point), ends.shape[1]).index_copy(0, final, ends)
        self.passes.odd = None
        if len(going):
            part = {name: rows[name][going] for name in ("point", "label", "target")}
            for whole, values in zip((logits, loss, gradient), self._passed(part), strict=True):
                whole.index_copy_(0, going, values)
        if self.passes.odd is not None:
            self.passes.odd = torch.zeros_like(rows["odd"]).index_copy(0, going, self.passes.odd)
        return logits, loss, gradient

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

        A gradient pass gives the verdict too, but beyond the boundary its gradient is of no use. So a row waits for
        the gradient pass only where its point most probably lies inside, and otherwise pays for a verdict alone.
        """
        active, label, target = ~rows["done"], rows["label"], rows["target"]
        logits, gap, gradient = self.passes.gradients_of(
            rows["point"], lambda logits, part: losses.towards(logits, label[part], target[part])
        )
        rows = self.counted(rows, active, active)
        unsettled = active & ~rows["settled"]
        ready = active
        if some(unsettled):
            rows, wrong = self._judged(rows, logits, unsettled)
            ready = ~wrong
        gap = gap.nan_to_num(0.0, 0.0, 0.0)
        rows = fab.advance(rows, ready, gap, gradient, self.threat.norm)
        rows["clock"] = rows["iteration"]
        over = rows["iteration"] >= self.settings.fab_steps
        wanted = active & ~(rows["settled"] | self._waits(rows, over))
        index = wanted.nonzero()[:, 0]
        if len(index):
            rows["forward"] = rows["forward"] + wanted
            rows, _ = self._judged(rows, self._verdicts(rows["point"], index, logits), wanted)
        return self.ended(rows, rows["settled"] & over)

    def _waits(self, rows: Rows, over: Tensor) -> Tensor:
        """Return which rows get their verdict with their next gradient, bool [n]; none does whose steps are ``over``.

        Each of them may err once more than it has been right, so no search takes more than one pass in addition to the
        three for each step of the published attack.
        """
        spent = rows["forward"] + rows["backward"]
        return fab.inside(rows) & ~over & (torch.add(spent, rows["iteration"], alpha=-3) < 0)

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
        # Where the judge itself searches, it has accepted all that is near.
        taken = nearer if self.accept is None else nearer & (accepted | ~near)
        rows["distance"] = torch.where(taken, distance, rows["distance"])
        return self.kept(rows, point, accepted), wrong


def search_for(
    attack: str,
    passes: Passes,
    threat: ThreatModel,
    settings: StandardSettings,
    seed: int,
    accept: Accept | None,
    slack: Tensor | None = None,
    at_once: int = 1,
    same: bool = True,
    spare: Tensor | None = None,
) -> Search:
    """Return the search of this name; ``accept`` and ``slack`` [n] are None where the judge itself searches.

    ``same`` says that the network gives the same image the same logits at every call, ``spare`` [n] how many passes in
    vain each example may cost.
    """
    common = (passes, threat, settings, (seed, "standard", attack), accept, slack)
    if attack == "apgd-ce":
        return APGDSearch(*common, loss=losses.cross_entropy)
    if attack == "apgd-t":
        return APGDSearch(*common, loss=losses.dlr_targeted)
    if attack == "fab-t":
        return FABSearch(*common)
    return SquareSearch(*common, settings.candidates, at_once, same, spare)
