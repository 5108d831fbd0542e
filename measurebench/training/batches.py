"""Batches of one epoch: a permutation of the training images, with extra images in a share of every batch."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from measurebench.core.errors import BadInputError
from measurebench.datasets.base import ImageSplit

__all__ = ["Batches", "LabelledImages"]


@dataclass(frozen=True)
class LabelledImages:
    """``images`` float32 [n, C, H, W] and ``labels`` int64 [n] on one device."""

    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, split: ImageSplit, device: str) -> "LabelledImages":
        """Copy a split to the device."""
        return cls(torch.tensor(split.images, device=device), torch.tensor(split.labels, device=device))

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Batches:
    """The batches of an epoch: ceil(n_train / batch_size) of them, with extra data and without.

    So a run with extra data makes as many updates as one without. Where there is extra data, ``extra_fraction``
    of every batch comes from it (half, as Carmon et al. 2019 have it); both sources are walked through in
    permutations that go on across batches and start again when used up.
    """

    train: LabelledImages
    batch_size: int
    extra: LabelledImages | None = None
    extra_fraction: float = 0.5

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise BadInputError("batch_size", "at least 2 (batch norm needs several images)", str(self.batch_size))
        if self.extra is not None and not 0 < self._n_extra < self.batch_size:
            raise BadInputError("extra_fraction", "a share that leaves both kinds in a batch", str(self.extra_fraction))

    @property
    def _n_extra(self) -> int:
        return round(self.extra_fraction * self.batch_size)

    def __len__(self) -> int:
        return -(-len(self.train) // self.batch_size)

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images [b, C, H, W] and labels [b]; without extra data every training image comes exactly once."""
        if self.extra is None:
            order = torch.randperm(len(self.train), generator=generator)
            for rows in _even(order, len(self)):
                yield self.train.images[rows], self.train.labels[rows]
            return
        walks = (
            _walk(len(self.train), self.batch_size - self._n_extra, len(self), generator),
            _walk(len(self.extra), self._n_extra, len(self), generator),
        )
        for rows, more in zip(*walks, strict=True):
            yield (
                torch.cat([self.train.images[rows], self.extra.images[more]]),
                torch.cat([self.train.labels[rows], self.extra.labels[more]]),
            )


def _even(order: Tensor, n_batches: int) -> tuple[Tensor, ...]:
    """Cut an order into batches whose sizes differ by one at most, so that no small rest upsets batch norm."""
    return torch.tensor_split(order, n_batches)


def _walk(n: int, size: int, n_batches: int, generator: torch.Generator) -> list[Tensor]:
    """Return n_batches rows of ``size`` positions from as many permutations of n as that takes."""
    rounds = -(-size * n_batches // n)
    order = torch.cat([torch.randperm(n, generator=generator) for _ in range(rounds)])
    return list(torch.split(order[: size * n_batches], size))
