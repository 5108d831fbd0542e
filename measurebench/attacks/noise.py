"""Random numbers per example: a counter-based generator, so that batches, order and device change nothing.

Every number is a hash of stream, example key and position (see ``hashing``).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from measurebench.attacks.hashing import GAMMA, mixed, random_bits, shifted

__all__ = ["content_keys", "integers", "normal", "uniform"]


def uniform(keys: Tensor, shape: Sequence[int], *stream: object, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return uniform numbers in [0, 1), [n, *shape], that depend on each example's key and the stream alone.

    They are multiples of 2^-24, exact in float32, so that float32 and float64 see the same numbers.
    """
    return shifted(random_bits(keys, shape, stream), 40).to(dtype) * 2.0**-24


def normal(keys: Tensor, shape: Sequence[int], *stream: object, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return standard normal numbers [n, *shape], by inverting the distribution function in float64."""
    centred = (shifted(random_bits(keys, shape, stream), 12).to(torch.float64) + 0.5) * 2.0**-52
    numbers: Tensor = torch.special.ndtri(centred)
    return numbers.to(dtype)


def integers(keys: Tensor, high: int, *stream: object) -> Tensor:
    """Return integers in [0, high), int64 [n] (the bias of the modulus is below high / 2^62)."""
    return shifted(random_bits(keys, (1,), stream), 2)[:, 0] % high


def content_keys(images: Tensor) -> Tensor:
    """Return a key per image, int64 [n], from its pixels as float32: the same in any order and precision."""
    words = images.detach().to(torch.float32).flatten(1).contiguous().view(torch.int32).to(torch.int64)
    positions = torch.arange(1, words.shape[1] + 1, dtype=torch.int64, device=images.device) * GAMMA
    return mixed(mixed(words + positions).sum(1))
