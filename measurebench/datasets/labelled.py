"""Checks images and labels of any source and puts them into a class-balanced order."""

from typing import Any

import numpy as np
import numpy.typing as npt

from measurebench.core.errors import BadInputError
from measurebench.core.limits import CLASSES
from measurebench.core.unit_range import is_unit_range
from measurebench.datasets.base import ImageSplit, balanced_order

__all__ = ["Array", "labelled"]

Array = npt.NDArray[Any]


def labelled(images: Array, labels: Array, where: str, where_labels: str) -> ImageSplit:
    """Return images [n, C, H, W] and labels [n] as a split, in a class-balanced order from a fixed seed.

    Floats must lie in [0, 1], and what rounding left outside is clamped; uint8 is divided by 255. Raises BadInputError,
    which names ``where`` or ``where_labels``, for images of another shape or range and for labels that are not whole
    numbers from 0.

    >>> part = labelled(np.zeros((2, 1, 4, 4), np.uint8), np.array([1, 0]), "images", "labels")
    >>> part.images.dtype, len(part)
    (dtype('float32'), 2)
    """
    if images.ndim != 4 or images.size == 0:
        raise BadInputError(where, "images [n, channels, height, width], at least one", str(list(images.shape)))
    if images.shape[1] > 4 and images.shape[3] in (1, 3):
        got, hint = f"shape {list(images.shape)}", "transpose it with (0, 3, 1, 2)"
        raise BadInputError(where, "channels before height and width", got, hint)
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1 or len(labels) != len(images):
        got = f"{labels.dtype} {list(labels.shape)} for {len(images)} images"
        raise BadInputError(where_labels, "one integer label for each image", got)
    if int(labels.min()) < 0:
        raise BadInputError(where_labels, "labels from 0", f"{int(labels.min())}")
    CLASSES.check(int(labels.max()) + 1, f"{where_labels}: labels")
    order = balanced_order(labels.astype(np.int64))
    return ImageSplit(_in_unit_range(images, where)[order], labels.astype(np.int64)[order], order)


def _in_unit_range(images: Array, where: str) -> npt.NDArray[np.float32]:
    """Return images as float32 in [0, 1]: bytes are divided by 255, floats must lie there already."""
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255)
    if not np.issubdtype(images.dtype, np.floating):
        raise BadInputError(where, "uint8, or floats in [0, 1]", str(images.dtype))
    low, high = float(images.min()), float(images.max())
    if not is_unit_range(low, high):
        cause = "divide by 255?" if low >= 0 and high > 2 else "was the input normalised already?"
        raise BadInputError(where, f"{images.dtype} in [0, 1]", f"[{low:.4g}, {high:.4g}]", cause)
    return images.astype(np.float32).clip(0, 1)
