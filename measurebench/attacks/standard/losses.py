"""The losses that APGD ascends, with their derivatives by the logits."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["cross_entropy", "dlr_targeted", "margin", "towards"]

_TINY = 1e-12


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the label's logit minus the largest other one, [n]; not finite where the logits [n, K] are not."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return own[:, 0] - others.amax(1)


def cross_entropy(logits: Tensor, labels: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy [n] and its derivative by the logits [n, K]; the targets play no part."""
    loss = F.cross_entropy(logits, labels, reduction="none")
    slope = torch.softmax(logits, 1)
    return loss, slope.scatter_add(1, labels[:, None], -torch.ones_like(slope[:, :1]))


def dlr_targeted(logits: Tensor, labels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the targeted difference of logits ratio [n] (Croce and Hein 2020, eq. 6) and its derivative [n, K].

    -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2), where z_(i) is the i-th largest logit.
    """
    ordered, order = logits.sort(dim=1)
    gap = (logits.gather(1, labels[:, None]) - logits.gather(1, targets[:, None]))[:, 0]
    scale = ordered[:, -1] - 0.5 * (ordered[:, -3] + ordered[:, -4]) + _TINY
    direct, through = (1 / scale)[:, None], (gap / scale**2)[:, None]
    slope = torch.zeros_like(logits)
    slope = slope.scatter_add(1, labels[:, None], -direct).scatter_add(1, targets[:, None], direct)
    slope = slope.scatter_add(1, order[:, -1:], through)
    slope = slope.scatter_add(1, order[:, -3:-2], -0.5 * through).scatter_add(1, order[:, -4:-3], -0.5 * through)
    return -gap / scale, slope


def towards(logits: Tensor, labels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the target's logit minus the label's [n], and its derivative by the logits [n, K]."""
    gap = (logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None]))[:, 0]
    ones = torch.ones_like(logits[:, :1])
    slope = torch.zeros_like(logits).scatter_add(1, labels[:, None], -ones)
    return gap, slope.scatter_add(1, targets[:, None], ones)
