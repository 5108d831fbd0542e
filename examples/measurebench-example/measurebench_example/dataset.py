"""A data set: noisy horizontal and vertical stripes, made from a fixed seed."""

from pathlib import Path

import numpy as np

from measurebench.core.errors import BadInputError
from measurebench.datasets.base import Dataset, ImageSplit, balanced_order
from measurebench.datasets.registry import register_dataset

__all__ = ["stripes"]

_SIDE, _POSITIONS = 8, 5


@register_dataset("stripes", summary="10 classes of 1x8x8 images: a stripe across or down, at five positions.")
def stripes(argument: str, *, data_dir: Path | None, offline: bool) -> Dataset:
    """Return 300 training and 200 test images; there is nothing to read or to download."""
    if argument:
        raise BadInputError("dataset", "stripes", repr(f"stripes:{argument}"))
    names = [f"{way} {position}" for way in ("across", "down") for position in range(_POSITIONS)]
    return Dataset("stripes", tuple(names), train=_split(300, seed=0), test=_split(200, seed=1))


def _split(n: int, seed: int) -> ImageSplit:
    generator = np.random.default_rng(seed)
    labels = np.arange(n, dtype=np.int64) % (2 * _POSITIONS)
    images = 0.4 * generator.random((n, 1, _SIDE, _SIDE))
    for image, label in zip(images, labels, strict=True):
        position = label % _POSITIONS + 1
        rows = image[0] if label < _POSITIONS else image[0].T
        rows[position : position + 2] += 0.5
    order = balanced_order(labels)
    return ImageSplit(images.astype(np.float32)[order], labels[order], order)
