"""Auto-PGD (Croce and Hein 2020, "Reliable evaluation of adversarial robustness", algorithm 1), one step for many rows.

Every row has its own number of passes, and every decision is a mask: nothing depends on the other rows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from measurebench.attacks.standard.rows import Rows, choose, column, norm_of, some, unit
from measurebench.core.threat import Norm

__all__ = ["Checkpoints", "advance", "start"]

_TINY = 1e-12
_MOMENTUM = 0.75  # alpha of the paper


@dataclass(frozen=True)
class Checkpoints:
    """When a row looks back at its steps: ``due`` bool [n_steps + 1] and ``rises`` [n_steps + 1], by its passes.

    At a checkpoint the step size is halved where the loss rose at most ``rises`` times since the last one.
    """

    due: Tensor
    rises: Tensor

    @classmethod
    def after(cls, n_steps: int, rho: float, like: Tensor) -> "Checkpoints":
        """Return the published schedule for this many steps (intervals of 22 %, shrinking by 3 % to 6 %)."""
        due, rises = [False] * (n_steps + 1), [0.0] * (n_steps + 1)
        interval = max(int(0.22 * n_steps), 1)
        at = interval
        while at <= n_steps:
            due[at], rises[at] = True, interval * rho
            interval = max(interval - max(int(0.03 * n_steps), 1), max(int(0.06 * n_steps), 1))
            at += interval
        return cls(torch.tensor(due, device=like.device), torch.tensor(rises, dtype=torch.float64, device=like.device))


def start(images: Tensor, noise: Tensor, norm: Norm, radius: float) -> Rows:
    """Return the state of searches that begin at the edge of the ball, in the direction of ``noise`` [n, ...].

    For Linf the noise is scaled to a largest entry of 1, for L2 to length 1.
    """
    largest = column(noise.abs().flatten(1).amax(1), noise)
    direction = noise / (largest + _TINY) if norm is Norm.LINF else unit(noise)
    points = (images + radius * direction).clamp(0.0, 1.0)
    zeros = torch.zeros(len(images), dtype=images.dtype, device=images.device)
    return {
        "image": images,
        "lower": (images - radius).clamp_min(0.0),
        "upper": (images + radius).clamp_max(1.0),
        "point": points,
        "previous": points,
        "best": points,
        "best_gradient": torch.zeros_like(images),
        "best_loss": zeros,
        "last_loss": zeros,
        "checked_loss": zeros,
        "rises": zeros,
        "reduced": torch.ones_like(zeros, dtype=torch.bool),
        "size": zeros + 2.0 * radius,
        "passes": torch.zeros_like(zeros, dtype=torch.int64),
    }


def advance(rows: Rows, loss: Tensor, gradient: Tensor, checkpoints: Checkpoints, norm: Norm, radius: float) -> Rows:
    """Return the state after the loss [n] and its gradient [n, ...] at the rows' points are known.

    The new ``point`` is where the next pass belongs. As published, the first interval's first comparison is with 0
    rather than with a loss.
    """
    rows = _looked_back(_remembered(rows, loss, gradient), gradient, checkpoints)
    move = _linf if norm is Norm.LINF else _l2
    point = move(rows, rows.pop("gradient"), radius)
    return rows | {"previous": rows["point"], "point": point, "passes": rows["passes"] + 1}


def _remembered(rows: Rows, loss: Tensor, gradient: Tensor) -> Rows:
    """Keep the point of the largest loss, and count whether the loss rose."""
    first = rows["passes"] == 0
    better = first | (loss > rows["best_loss"])
    return rows | {
        "best": choose(better, rows["point"], rows["best"]),
        "best_gradient": choose(better, gradient, rows["best_gradient"]),
        "best_loss": torch.where(better, loss, rows["best_loss"]),
        "checked_loss": torch.where(first, loss, rows["checked_loss"]),
        "rises": rows["rises"] + (~first & (loss > rows["last_loss"])),
        "last_loss": torch.where(first, torch.zeros_like(loss), loss),
    }


def _looked_back(rows: Rows, gradient: Tensor, checkpoints: Checkpoints) -> Rows:
    """At a checkpoint, halve the step and return to the best point where the search oscillates or stands still."""
    at = rows["passes"].clamp_max(len(checkpoints.due) - 1)
    due = checkpoints.due[at]
    if not some(due):
        return rows | {"gradient": gradient}
    oscillates = rows["rises"] <= checkpoints.rises[at]
    stands = ~rows["reduced"] & (rows["checked_loss"] >= rows["best_loss"])
    halved = due & (oscillates | stands)
    return rows | {
        "reduced": torch.where(due, halved, rows["reduced"]),
        "checked_loss": torch.where(due, rows["best_loss"], rows["checked_loss"]),
        "rises": torch.where(due, torch.zeros_like(rows["rises"]), rows["rises"]),
        "size": torch.where(halved, rows["size"] / 2.0, rows["size"]),
        "point": choose(halved, rows["best"], rows["point"]),
        "gradient": choose(halved, rows["best_gradient"], gradient),
    }


def _shares(rows: Rows) -> tuple[Tensor, Tensor]:
    """Return the weights of the new step and of the momentum: the first step has none."""
    point = rows["point"]
    new = torch.where(rows["passes"] > 0, _MOMENTUM, 1.0).to(point.dtype)
    return column(new, point), column(1 - new, point)


def _linf(rows: Rows, gradient: Tensor, _: float) -> Tensor:
    """Step along the sign of the gradient, with momentum."""
    point, lower, upper = rows["point"], rows["lower"], rows["upper"]
    new, old = _shares(rows)
    moved = gradient.sign().mul_(column(rows["size"], point)).add_(point).clamp_(lower, upper)
    moved.sub_(point).mul_(new).add_(point)
    return moved.add_((point - rows["previous"]).mul_(old)).clamp_(lower, upper)


def _l2(rows: Rows, gradient: Tensor, radius: float) -> Tensor:
    """Step along the gradient, with momentum."""
    image, point = rows["image"], rows["point"]
    new, old = _shares(rows)
    ahead = _in_ball(point + column(rows["size"], point) * unit(gradient), image, radius)
    return _in_ball(point + (ahead - point) * new + (point - rows["previous"]) * old, image, radius)


def _in_ball(points: Tensor, images: Tensor, radius: float) -> Tensor:
    """Return the points in the L2 ball, then in the box."""
    offset = points - images
    length = norm_of(offset)
    return (images + offset / (length + _TINY) * length.clamp_max(radius)).clamp(0.0, 1.0)
