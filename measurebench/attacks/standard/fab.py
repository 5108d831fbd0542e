"""FAB (Croce and Hein 2020, "Minimally distorted adversarial examples with a fast adaptive boundary attack").

The targeted attack without restarts, one step for many rows. An iteration has two halves: ``advance`` moves a point
past the linearised boundary, ``judged`` looks at what the network says there and steps back from what is adversarial.
"""

import torch
from torch import Tensor

from measurebench.attacks.standard.projections import move_to_hyperplane
from measurebench.attacks.standard.rows import Rows, choose
from measurebench.core.threat import Norm

__all__ = ["advance", "inside", "judged", "start"]

_FAR = 1e10  # the distance of what was not found, as published
_NEAR = 1e-8
_LARGEST_SHARE = 0.1  # alpha_max of the paper
_OVERSHOOT = 1.05  # eta
_BACK = 0.9  # beta
# Searches that cross the boundary at all nearly always do so in one of their first steps.
_FIRST_STEPS = 4


def start(images: Tensor) -> Rows:
    """Return the state of searches that begin at the images [n, ...]."""
    zeros = torch.zeros(len(images), dtype=images.dtype, device=images.device)
    return {
        "image": images,
        "point": images,
        "distance": zeros + _FAR,
        "iteration": torch.zeros_like(zeros, dtype=torch.int64),
        # Settled: the verdict at the point plays no part any more, its gradient is what is missing.
        "settled": torch.ones_like(zeros, dtype=torch.bool),
        # The last 64 verdicts, a bit each, the last one lowest: 1 beyond the boundary. The bit at the beginning leaves
        # after the first steps; then 0 says that the search has not crossed the boundary.
        "verdicts": torch.full_like(zeros, 1 << (63 - _FIRST_STEPS), dtype=torch.int64),
    }


def inside(rows: Rows) -> Tensor:
    """Return which rows' points most probably lie inside the boundary, bool [n], by their verdicts so far.

    That is so where a search has not crossed it in its first steps. After a crossing from inside, the next step ends
    inside nine times in ten if it did the last time (counted on small CIFAR-10 networks, Linf and L2).
    """
    verdicts = rows["verdicts"]
    last = verdicts & 0b1111
    return (verdicts == 0) | (last == 0b0101) | (last == 0b1001)


def judged(rows: Rows, which: Tensor, wrong: Tensor, norm: Norm) -> tuple[Rows, Tensor, Tensor]:
    """Return the state after verdicts, which rows found a nearer adversarial point, and how far it lies.

    ``which`` bool [n]: the rows judged, ``wrong`` bool [n]: those of them that the network misclassifies. Such a row
    goes back towards its image.
    """
    offset = rows["point"] - rows["image"]
    distance = _length(offset.flatten(1), norm)
    back = offset.mul_(_BACK).add_(rows["image"])
    changed = {
        "point": choose(wrong, back, rows["point"]),
        "settled": rows["settled"] | which,
        "verdicts": torch.where(which, torch.add(wrong, rows["verdicts"], alpha=2), rows["verdicts"]),
    }
    return rows | changed, wrong & (distance < rows["distance"]), distance


def _length(moves: Tensor, norm: Norm) -> Tensor:
    """Return the length of moves [..., d] in the norm."""
    return moves.abs().amax(-1) if norm is Norm.LINF else (moves**2).sum(-1).sqrt()


def advance(rows: Rows, ready: Tensor, gap: Tensor, gradient: Tensor, norm: Norm) -> Rows:
    """Return the state after a step of the rows that are ``ready`` bool [n].

    ``gap`` [n] is the target's logit minus the label's at the point, ``gradient`` [n, ...] its gradient there.
    """
    image, point = rows["image"], rows["point"]
    pair = torch.stack([point.flatten(1), image.flatten(1)], 1)
    normals = gradient.flatten(1)
    offsets = -gap + (normals * pair[:, 0]).sum(-1)
    moves = move_to_hyperplane(pair, normals, offsets, norm)
    lengths = _length(moves, norm).clamp_min(_NEAR)
    share = (lengths[:, :1] / lengths.sum(1, keepdim=True)).clamp(0, _LARGEST_SHARE)
    beyond = moves.mul_(_OVERSHOOT).add_(pair)
    moved = beyond[:, 0].mul_(1 - share).add_(beyond[:, 1].mul_(share)).clamp_(0.0, 1.0)
    return rows | {
        "point": choose(ready, moved.reshape(point.shape), point),
        "iteration": rows["iteration"] + ready,
        "settled": rows["settled"] & ~ready,
    }
