"""One evaluation on its way: the clean verdicts, the choice of the searching network, the attacks and the audit."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from measurebench.attacks.audit import TOLERANCE, audit
from measurebench.attacks.geometry import distance
from measurebench.attacks.standard import flags as flagged
from measurebench.attacks.standard.blocks import Store
from measurebench.attacks.standard.calibration import Calibration, calibrated, own_differences
from measurebench.attacks.standard.jobs import Ledger
from measurebench.attacks.standard.networks import Reference, is_float16, search_networks
from measurebench.attacks.standard.passes import Passes
from measurebench.attacks.standard.result import Sample, StandardResult
from measurebench.attacks.standard.sampled import chosen, sample_size
from measurebench.attacks.standard.saving import Saver, marks
from measurebench.attacks.standard.searches import search_for
from measurebench.attacks.standard.settings import VERSION, StandardSettings, n_targets, published_passes
from measurebench.attacks.standard.slots import Examples, Pool
from measurebench.core.digests import digest_json
from measurebench.core.errors import BadInputError
from measurebench.core.threat import ThreatModel

__all__ = ["Evaluation", "SearchNetwork"]

SearchNetwork = Literal["reference", "folded", "fast"]
_NEAR = 4.0  # margins this many times the networks' difference from 0 are searched again by the reference
# Passes at an image that belong to no attack and are not in its count: four in the checks of the network and one more
# at the first image, one in the searching network, and one in the audit.
_BESIDE = 7
# Rows side by side on a CPU: digits gained up to 512 rows of 64 pixels, CIFAR-10 networks up to about 80 images.
_PIXELS, _FEWEST, _MOST = 2**18, 32, 512
# A GPU gains from several batches' rows: 2,048 in place of 512 saved a tenth for a ResNet-18 on an H200.
_PIXELS_OF_GPU = 2**23


class Evaluation:
    """One evaluation on its way."""

    def __init__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        threat: ThreatModel,
        keys: Tensor,
        seed: int,
        n_classes: int,
        settings: StandardSettings,
        batch_size: int,
    ) -> None:
        self.network, self.images, self.labels, self.keys = network, images, labels, keys
        self.threat, self.seed, self.n_classes, self.settings = threat, seed, n_classes, settings
        self.batch_size = batch_size
        self.reference = Reference(network)
        self.judge = Passes(self.reference, batch_size)
        self.adversarial = images.clone()
        self.withstood: dict[str, Tensor] = {}
        self.flags: list[str] = []
        self.unconfirmed = self.near = 0
        self.marks = marks(images, labels, keys)

    def prepare(self, search: SearchNetwork) -> None:
        """Predict the clean images, check the network and choose the one that searches.

        Raises BadInputError where the network has another number of outputs.
        """
        self.logits = self.judge.logits(self.images)
        if self.logits.dim() != 2 or self.logits.shape[1] != self.n_classes:
            raise BadInputError("network", f"{self.n_classes} logits", f"outputs of shape {tuple(self.logits.shape)}")
        finite = torch.isfinite(self.logits).all(1)
        self.clean = finite & (self.logits.argmax(1) == self.labels)
        self.flags += flagged.about_network(self.judge.logits, self.images, self.labels, self.logits)
        self.choice = self._calibrate(search)
        zeros = torch.zeros_like(self.labels)
        self.broken_by, self.rank, self.step = zeros - 1, zeros - 1, zeros - 1
        self.n_forward, self.n_backward = zeros + 1, zeros.clone()
        self.least = zeros.double() + torch.inf
        self.odd = zeros > 0
        self.sampled = zeros > 0
        self.n_survivors = 0
        self.n_flat = 0
        self.odd_gradients = 0.0

    def _calibrate(self, search: SearchNetwork) -> Calibration:
        """Return the fastest network that may search, and note by how much it may err at each example."""
        choices = [] if search == "reference" else search_networks(self.network, search == "fast", self.images)
        choice = calibrated(self.reference, choices, self.images, self.threat, self.n_classes, self.batch_size)
        # A network that was seen to change from call to call cannot be replayed.
        self.same = same = not self.flags
        self.certain = Passes(self.reference, self.batch_size, graphs=same)
        scaled = is_float16(choice.call)
        self.passes = self.certain if choice.is_reference else Passes(choice.call, self.batch_size, same, scaled)
        self.differences = torch.zeros_like(self.logits[:, 0])
        if not choice.is_reference:
            logits = self.passes.logits(self.images)
            self.differences = own_differences(choice, logits, self.logits, self.labels)
        return choice

    def alive(self) -> npt.NDArray[np.int64]:
        """Return the examples [k] that are correct and not broken."""
        alive: npt.NDArray[np.int64] = (self.clean & (self.broken_by < 0)).nonzero()[:, 0].cpu().numpy()
        return alive

    def run(
        self,
        attack: str,
        store: Store | None,
        seconds: float,
        order: npt.NDArray[np.int64] | None,
        only: tuple[int, int] | None = None,
    ) -> None:
        """Run one attack on what is alive, taken up in ``order`` int64 [n] if given, of the examples ``only``."""
        start, stop = only or (0, len(self.images))
        alive = self.alive() if order is None else order[np.isin(order, self.alive())]
        alive = alive[(start <= alive) & (alive < stop)]
        targets = n_targets(attack, self.settings, self.n_classes)
        ledger = Ledger(len(self.images), targets, self.settings.returns == "first", self.images.device)
        saver = Saver(store, attack, self._identity(attack), self.marks, ledger, seconds)
        saver.restore(start, stop)
        self._search(attack, ledger, saver, alive[~ledger.certain[alive]], self.choice)
        ledger.reopen(self._near(ledger, alive[~ledger.certain[alive]]))
        certain = alive[ledger.certain[alive]]
        self.near += len(certain)
        self._search(attack, ledger, saver, certain, Calibration("reference", self.reference))
        saver.save()
        self._close(attack, ledger, alive)

    def _search(
        self, attack: str, ledger: Ledger, saver: Saver, examples: npt.NDArray[np.int64], choice: Calibration
    ) -> None:
        """Run the pending jobs of these examples with one network."""
        jobs = ledger.pending(examples)
        if not len(jobs):
            return
        passes, accept = (self.certain, None) if choice.is_reference else (self.passes, self._accept)
        slots = self._slots()
        slack = None if choice.is_reference else _NEAR * self.differences
        # On a GPU a full batch gains nothing from more candidates, of which some are in vain.
        at_once = slots if self.images.is_cuda else 2 * slots
        spare = self._spare(attack)
        given = self.threat, self.settings, self.seed, accept, slack, at_once, self.same, spare
        found = search_for(attack, passes, *given)
        targets = self.logits.sort(dim=1)[1].flip(1)[:, 1 : 1 + ledger.n_targets]
        pool = Pool(found, ledger, Examples(self.images, self.labels, self.keys, targets), slots)
        pool.saved, pool.resumed = saver.after_pass, saver.resumed
        pool.run(jobs)

    def _spare(self, attack: str) -> Tensor:
        """Return how many passes fewer than the published attacks each example has cost before this one, [n]."""
        earlier = self.settings.attacks[: self.settings.attacks.index(attack)]
        published = sum(
            published_passes(a, self.settings, n_targets(a, self.settings, self.n_classes)) for a in earlier
        )
        return published - _BESIDE - self.n_forward - self.n_backward

    def _slots(self) -> int:
        """Return how many rows to search side by side: on a CPU as many as its caches hold."""
        if self.settings.slots:
            return self.settings.slots
        if self.images.is_cuda:
            return max(self.batch_size, _PIXELS_OF_GPU // self.images[0].numel())
        return max(_FEWEST, min(_MOST, _PIXELS // self.images[0].numel()))

    def _accept(self, images: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """Return which points [k, ...] the reference misclassifies and the auditor admits, bool [k]."""
        logits = self.judge.logits(points)
        wrong = torch.isfinite(logits).all(1) & (logits.argmax(1) != labels)
        inside = ((points >= -TOLERANCE) & (points <= 1 + TOLERANCE)).flatten(1).all(1)
        return wrong & inside & (distance(points, images, self.threat.norm) <= self.threat.radius + TOLERANCE)

    def _near(self, ledger: Ledger, alive: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the examples that withstood so narrowly that the networks' difference may have decided it."""
        if self.choice.is_reference:
            return alive[:0]
        least = ledger.notes["least"][alive].min(1)
        narrow = least < (_NEAR * self.differences).double().cpu().numpy()[alive]
        return np.setdiff1d(alive[narrow], ledger.broken())

    def _close(self, attack: str, ledger: Ledger, alive: npt.NDArray[np.int64]) -> None:
        """Judge what was found once more, and take what the ledger says of these examples into the result."""
        found = np.intersect1d(ledger.broken(), alive)
        if len(found):
            index = torch.from_numpy(found).to(self.images.device)
            points = torch.stack([ledger.images[example] for example in found.tolist()]).to(self.images)
            sure = self._accept(self.images[index], points, self.labels[index])
            self.unconfirmed += int((~sure).sum())
            index, points = index[sure], points[sure]
            self.adversarial[index] = points
            self.broken_by[index] = self.settings.attacks.index(attack)
            ranks = [ledger.rank_of(example) for example in index.tolist()]
            self.rank[index] = torch.tensor(ranks, dtype=torch.int64, device=index.device)
            steps = [int(ledger.notes["found_at"][e, r]) for e, r in zip(index.tolist(), ranks, strict=True)]
            self.step[index] = torch.tensor(steps, dtype=torch.int64, device=index.device)
        self._count(attack, ledger, alive)
        self.withstood[attack] = self.clean & (self.broken_by < 0)

    def _count(self, attack: str, ledger: Ledger, alive: npt.NDArray[np.int64]) -> None:
        """Add up margins, passes and what was not finite."""
        rows = torch.from_numpy(alive).to(self.images.device)

        def told(values: npt.NDArray[Any]) -> Tensor:
            return torch.from_numpy(values[alive]).to(self.images.device)

        self.least[rows] = torch.minimum(self.least[rows], told(ledger.notes["least"].min(1)))
        self.odd[rows] |= told(ledger.used("odd") > 0)
        self.odd_gradients += float(ledger.used("odd_gradients")[alive].sum())
        self.n_forward[rows] += told(ledger.used("forward") + ledger.earlier[:, 0]).long()
        self.n_backward[rows] += told(ledger.used("backward") + ledger.earlier[:, 1]).long()
        if attack == "apgd-t":
            self.n_flat = int((ledger.used("flat")[alive] > 0).sum())

    def draw(self, share: float) -> npt.NDArray[np.int64]:
        """Return a sample [k] of the examples that are left, by their keys and the seed; the later attacks take it."""
        left = (self.clean & (self.broken_by < 0) & ~self.odd).nonzero()[:, 0]
        drawn = left[chosen(self.keys[left], sample_size(len(left), share), self.seed)]
        self.n_survivors = len(left)
        self.sampled[drawn] = True
        rows: npt.NDArray[np.int64] = drawn.cpu().numpy()
        return rows

    def _identity(self, attack: str) -> str:
        """Return a digest of all that every search of an attack depends on, but for the network's own weights."""
        s = self.settings
        steps = {"fab-t": [s.fab_steps], "square": [s.square_queries]}.get(attack, [s.apgd_steps, s.rho])
        known = [attack, *steps, n_targets(attack, s, self.n_classes), self.n_classes, s.returns]
        known += [str(self.threat.norm), str(self.threat.fraction), self.seed, self.choice.name]
        return digest_json([*known, str(self.logits.dtype), self.images.device.type, torch.__version__, VERSION])

    def result(self) -> StandardResult:
        """Audit the adversarial images and return all that is known."""
        adversarial_logits = self.judge.logits(self.adversarial)
        outcome = audit(self.images, self.labels, self.adversarial, self.logits, adversarial_logits, self.threat)
        shaky = (self.broken_by >= 0) & (~torch.isfinite(adversarial_logits).all(1) | outcome.robust)
        self.broken_by[shaky] = -1
        self.adversarial[shaky] = self.images[shaky]
        survived = self.clean & (self.broken_by < 0)
        failed = survived & self.odd
        accuracy = {"clean": float(self.clean.double().mean())}
        accuracy |= {name: float(still.double().mean()) for name, still in self.withstood.items()}
        return StandardResult(
            adversarial=self.adversarial,
            clean=self.clean,
            robust=survived & ~failed,
            failed=failed,
            withstood=self.withstood,
            broken_by=self.broken_by,
            rank=self.rank,
            step=self.step,
            margins=self.least,
            distances=distance(self.adversarial, self.images, self.threat.norm),
            n_forward=self.n_forward,
            n_backward=self.n_backward,
            flags=tuple(self._all_flags(accuracy, int(failed.sum()), int(shaky.sum()), outcome.flags)),
            diagnostics=self._diagnostics(),
            sample=Sample(self.n_survivors, self.sampled, int((self.sampled & ~(survived & ~failed)).sum())),
        )

    def _share_odd(self) -> float:
        """Return the share of gradient entries that were not finite."""
        entries = int(self.n_backward.sum()) * self.images[0].numel()
        return self.odd_gradients / entries if entries else 0.0

    def _all_flags(self, accuracy: dict[str, float], failed: int, shaky: int, audited: tuple[str, ...]) -> list[str]:
        flags = [*self.flags, *flagged.about_gradients(self.n_flat, self._share_odd()), *flagged.about_square(accuracy)]
        if failed:
            flags.append(f"{failed} images were not broken but met outputs that are not finite; they are not robust")
        if unsure := self.unconfirmed + shaky:
            flags.append(f"{unsure} adversarial images were not confirmed by a second prediction; they do not count")
        return [*flags, *audited]

    def _largest_difference(self) -> float:
        """Return the largest difference of the networks' margins that counts as known."""
        known = self.differences[self.clean & self.differences.isfinite()]
        return float(known.amax()) if len(known) else self.choice.difference

    def _diagnostics(self) -> dict[str, float | int | str]:
        diagnostics: dict[str, float | int | str] = {
            "search_network": self.choice.name,
            "margin_difference": self._largest_difference(),
            "near_misses": self.near,
            "unconfirmed": self.unconfirmed,
            "share_odd_gradients": self._share_odd(),
        }
        if self.choice.refused:
            diagnostics["refused"] = "; ".join(self.choice.refused)
        return diagnostics
