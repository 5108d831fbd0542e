"""Data sets from items (image, label), as the data sets of torch give them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from measurebench.core.errors import BadInputError
from measurebench.core.limits import ARRAYS_BYTES
from measurebench.datasets.base import Dataset, ImageSplit, no_images
from measurebench.datasets.labelled import Array, labelled

__all__ = ["from_items", "read_items"]

_FLOAT_BYTES = 4
_FORM = "items (image, label)"


def from_items(items: Any, name: str = "", n_classes: int | None = None) -> Dataset:
    """Return the data set of test images, or of a mapping with ``train`` and ``test``.

    Each of them has a length and items (image, label), such as a ``torch.utils.data.Dataset``. An image is a picture,
    or a tensor or array [C, H, W] of uint8 or of floats in [0, 1]. ``name`` is the name in records, by default that of
    the items' class. ``n_classes`` is the number of classes, where items do not name their ``classes`` and the labels
    may lack the highest ones. Raises BadInputError, which names the item, for what is no image or label.

    >>> import torch
    >>> pairs = torch.utils.data.TensorDataset(torch.rand(6, 1, 4, 4), torch.arange(6) % 3)
    >>> found = from_items({"train": pairs, "test": pairs}, name="pairs")
    >>> found.name, len(found.train), found.n_classes
    ('items:pairs', 6, 3)
    """
    given = dict(items) if isinstance(items, Mapping) else {"test": items}
    if "test" not in given or set(given) - {"train", "test"}:
        raise BadInputError("dataset", "test images, or a mapping with train and test", f"the keys {sorted(given)}")
    parts = {split: read_items(part, f"dataset, {split}") for split, part in given.items()}
    shapes = {split: part.images.shape[1:] for split, part in parts.items()}
    if len(set(shapes.values())) > 1:
        raise BadInputError("dataset", "images of one shape", ", ".join(f"{k} {v}" for k, v in shapes.items()))
    needed = max(int(part.labels.max()) for part in parts.values()) + 1
    classes = [str(one) for one in getattr(given["test"], "classes", ())]
    known = len(classes) >= needed
    found = Dataset(
        f"items:{name or type(given['test']).__name__}",
        tuple(classes) if known else tuple(str(number) for number in range(needed)),
        parts.get("train", no_images(parts["test"])),
        parts["test"],
        classes_known=known,
    )
    return found if n_classes is None else found.with_classes(n_classes)


def read_items(items: Any, subject: str) -> ImageSplit:
    """Return all items (image [C, H, W], label) as a split in a class-balanced order; indices are the items' places.

    Raises BadInputError, which names ``subject`` and the item.
    """
    try:
        n = len(items)
    except TypeError:
        got = type(items).__name__
        raise BadInputError(subject, f"{_FORM} with a length, such as a torch Dataset", got) from None
    if not n:
        raise BadInputError(subject, f"{_FORM}, at least one", "none")
    image, label = _item(items, 0, subject)
    ARRAYS_BYTES.check(n * image.size * _FLOAT_BYTES, subject)
    images, labels = np.empty((n, *image.shape), dtype=image.dtype), np.empty(n, dtype=np.int64)
    for number in range(n):
        pixels, label = _item(items, number, subject) if number else (image, label)
        if (pixels.shape, pixels.dtype) != (image.shape, image.dtype):
            got = f"{image.dtype} {list(image.shape)} and {pixels.dtype} {list(pixels.shape)}"
            hint = "scale them to one size first, with a transform"
            raise BadInputError(f"{subject}, item {number}", "images of one type and size", got, hint)
        images[number], labels[number] = pixels, label
    return labelled(images, labels, subject, subject)


def _item(items: Any, number: int, subject: str) -> tuple[Array, int]:
    """Return an item's image [C, H, W] and its label."""
    where = f"{subject}, item {number}"
    found = items[number]
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise BadInputError(where, "(image, label)", type(found).__name__)
    image, label = found
    number_of = np.asarray(label)
    if number_of.size != 1 or not np.issubdtype(number_of.dtype, np.integer):
        raise BadInputError(where, "a label that is a whole number", repr(label)[:80])
    return _pixels(image, where), int(number_of.item())


def _pixels(image: Any, where: str) -> Array:
    """Return an image [C, H, W] as an array, one channel of which may be left out."""
    if hasattr(image, "convert"):  # a picture of PIL
        image = image if image.mode == "L" else image.convert("RGB")
        pixels = np.asarray(image)
        return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 and not np.issubdtype(pixels.dtype, np.floating):
        raise BadInputError(where, "a picture, or an array or tensor [channels, height, width]", type(image).__name__)
    return pixels[None] if pixels.ndim == 2 else pixels
