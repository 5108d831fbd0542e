"""Rows: the states of many searches side by side, a named tensor for each part of the state."""

import torch
from torch import Tensor

__all__ = ["Rows", "choose", "column", "join", "norm_of", "some", "take", "unit"]

# Every tensor has one entry per row along its first axis.
Rows = dict[str, Tensor]
_TINY = 1e-12


def take(rows: Rows, index: Tensor) -> Rows:
    """Return the rows that ``index`` int64 [k] names, in its order."""
    return {name: tensor[index] for name, tensor in rows.items()}


def join(first: Rows, second: Rows) -> Rows:
    """Return the rows of both, the first ones first; each tensor is [n + m, ...]."""
    return {name: torch.cat([tensor, second[name]]) for name, tensor in first.items()}


def column(values: Tensor, like: Tensor) -> Tensor:
    """Reshape values [n] so that they broadcast over images [n, ...]."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def choose(mask: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return the rows [n, ...] of ``first`` where ``mask`` bool [n] holds, of ``second`` elsewhere."""
    return torch.where(column(mask, first), first, second)


# On a GPU a look at a tensor makes the host wait until the device has done all it was given.
_LOOK_EVERY = 8


def some(mask: Tensor, turn: int = 0) -> bool:
    """Return whether ``mask`` bool [n] holds anywhere, True where a look would wait for the device.

    What is skipped where it holds nowhere must change nothing there. In a loop, whose number is ``turn``, it looks at
    a tensor of the device at every eighth turn.
    """
    if mask.device.type != "cpu" and (turn + 1) % _LOOK_EVERY:
        return True
    return bool(mask.any())


def norm_of(images: Tensor) -> Tensor:
    """Return the Euclidean length of every row [n, ...], in a shape that broadcasts over it."""
    return column((images**2).flatten(1).sum(-1).sqrt(), images)


def unit(images: Tensor) -> Tensor:
    """Return the rows [n, ...] at Euclidean length 1; rows of zeros stay zeros."""
    return images / (norm_of(images) + _TINY)
