"""Calibrates a searching network against the reference, on made-up images that are the same for every evaluation.

The choice of the network and its recorded difference thus depend on the weights, the shape of the images, the threat
model and the seed alone, never on which examples are attacked together. What an example's own image adds is a matter
of that example (see ``own_differences``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from measurebench.attacks import noise
from measurebench.attacks.pgd import PGD
from measurebench.attacks.protocol import AttackContext
from measurebench.attacks.standard.losses import cross_entropy, margin
from measurebench.attacks.standard.networks import Candidate, Reference, coarse, is_float16
from measurebench.attacks.standard.passes import Passes
from measurebench.core.threat import ThreatModel

__all__ = ["Calibration", "calibrated", "made_up_images", "own_differences"]

# A searching network whose margins are off by more than this share of the usual margin would search elsewhere.
_LARGEST_SHARE = 0.1
_N_IMAGES = 64
# Sides of the grids of random colours that are added up: natural images vary more over long distances than short ones.
_GRIDS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Calibration:
    """The network that searches: ``call``, its ``name``, and its largest ``difference`` of margins (0: the judge).

    ``limit`` is the difference from which on it is too far from the reference to search. ``refused`` says why faster
    networks do not search.
    """

    name: str
    call: Callable[[Tensor], Tensor]
    difference: float = 0.0
    limit: float = 0.0
    refused: tuple[str, ...] = ()

    @property
    def is_reference(self) -> bool:
        """Whether the judge searches itself."""
        return isinstance(self.call, Reference) and self.name == "reference"


def made_up_images(like: Tensor) -> Tensor:
    """Return images [64, C, H, W] in [0, 1] of the shape, dtype and device of ``like`` [n, C, H, W], always the same.

    Smooth patches of random colour at several scales.
    """
    keys = torch.arange(_N_IMAGES)
    _, channels, height, width = like.shape
    total = torch.zeros(_N_IMAGES, channels, height, width, dtype=torch.float64)
    for side in (*_GRIDS, max(height, width)):
        grid = noise.uniform(keys, (channels, side, side), "standard", "calibration", side, dtype=torch.float64) - 0.5
        total += F.interpolate(grid, size=(height, width), mode="bilinear") / side**0.5
    return (0.5 + total).clamp(0, 1).to(like)


def calibrated(
    reference: Reference, choices: list[Candidate], like: Tensor, threat: ThreatModel, n_classes: int, batch_size: int
) -> Calibration:
    """Return the first of the networks whose margins are near enough to the reference's, or the reference.

    They are compared on made-up images of the shape of ``like`` [n, C, H, W] and where PGD takes them. Images where
    the reference's outputs are not finite are left out.
    """
    if not choices:
        return Calibration("reference", reference)
    judge = Passes(reference, batch_size)
    images = made_up_images(like)
    labels = judge.logits(images).argmax(1)
    context = AttackContext(threat, torch.arange(len(images), device=images.device), n_classes=n_classes)
    network: Any = reference
    moved = PGD()(network, images, labels, context).adversarial
    points, labels = torch.cat([images, moved]), torch.cat([labels, labels])
    expected = judge.logits(points)
    known = torch.isfinite(expected).all(1)
    points, labels, expected = points[known], labels[known], expected[known]
    refused: list[str] = []
    limit = _LARGEST_SHARE * float(margin(expected, labels).abs().median()) if len(points) else 0.0
    for name, network in choices:
        difference, reason = _compared(
            Passes(network, batch_size, scaled=is_float16(network)), points, labels, expected
        )
        if not reason and not difference <= limit:  # also where it is NaN
            reason = f"margins differ by up to {difference:.3g}, the usual margin is {limit / _LARGEST_SHARE:.3g}"
        if not reason:
            return Calibration(name, network, difference, limit, tuple(refused))
        refused.append(f"{name}: {reason}")
    return Calibration("reference", reference, refused=tuple(refused))


def _compared(passes: Passes, points: Tensor, labels: Tensor, expected: Tensor) -> tuple[float, str]:
    """Return the largest difference of margins at the points [n, ...], and why the network is of no use if so."""
    if not len(points):
        return float("nan"), ""
    try:
        logits, _, _ = passes.gradients_of(points, lambda logits, rows: cross_entropy(logits, labels[rows], labels))
    except Exception as error:  # noqa: BLE001  a copy in other numbers may fail in any way; then it does not search
        return float("nan"), f"it does not run: {type(error).__name__}"
    if coarse(logits):
        return float("nan"), "its last layer computes in 16 bits"
    if passes.odd is not None and bool(passes.odd.any()) and passes.scaled:
        return float("nan"), "its gradients leave the range of float16"
    return float((margin(logits, labels) - margin(expected, labels)).abs().amax()), ""


def own_differences(choice: Calibration, logits: Tensor, expected: Tensor, labels: Tensor) -> Tensor:
    """Return by how much the networks' margins may differ at each example, [n]: at least as much as in calibration.

    ``logits`` [n, K] are the searching network's at the examples themselves, ``expected`` [n, K] the reference's. The
    difference is infinite where it exceeds the limit of calibration or is not finite.
    """
    own = (margin(logits, labels) - margin(expected, labels)).abs()
    return torch.where(own <= choice.limit, own.clamp_min(choice.difference), torch.inf)
