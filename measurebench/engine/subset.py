"""An explicit subset of a data set, named by the indices of its images in a file."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from measurebench.core.errors import BadInputError
from measurebench.datasets import Dataset, ImageSplit
from measurebench.engine.options import RunOptions

__all__ = ["chosen_examples", "read_indices"]

_SPLITS = ("train", "test")


def chosen_examples(options: RunOptions, dataset: Dataset) -> tuple[RunOptions, Dataset]:
    """Return options and data set with the images that ``options.examples_file`` names, if it names some.

    A split that the file names is measured on exactly these images, in the order of the file, whatever
    ``train_examples`` and ``test_examples`` say. Raises BadInputError for a file that is none, and for an index that
    the split does not have.
    """
    if options.examples_file is None:
        return options, dataset
    found = read_indices(options.examples_file)
    for split, indices in found.items():
        if split == "train":
            dataset.needs_training_images(f"for the indices of {options.examples_file}")
        part = _part(dataset.split(split), indices, f"{options.examples_file}: {split}")
        dataset = replace(dataset, **{split: part})  # type: ignore[arg-type]
        options = replace(options, **{f"{split}_examples": len(part)})  # type: ignore[arg-type]
    return options, dataset


def read_indices(path: Path) -> dict[str, list[int]]:
    """Return the indices of a file by split: a whole number a line for test images, or JSON with lists of them.

    Raises BadInputError for a file that is missing, or that holds anything else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        got = error.strerror if isinstance(error, OSError) else None
        raise BadInputError(str(path), "a file of indices of images", got or "bytes that are no text") from None
    found = _from_json(text, path) if text.lstrip().startswith("{") else {"test": _lines(text, path)}
    for split, indices in found.items():
        subject = f"{path}: {split}"
        if not indices:
            raise BadInputError(subject, "at least one index", "none")
        for index, n in Counter(indices).items():
            if n > 1:
                raise BadInputError(subject, "each image once", f"{index} {n} times")
    return found


def _lines(text: str, path: Path) -> list[int]:
    indices = []
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        if word and not (word.isascii() and word.isdigit()):
            raise BadInputError(f"{path}, line {number}", "the index of an image, a whole number from 0", repr(line))
        indices += [int(word)] if word else []
    return indices


def _from_json(text: str, path: Path) -> dict[str, list[int]]:
    expected = '{"train": [indices], "test": [indices]}'
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInputError(str(path), expected, str(error)) from None
    if not isinstance(found, Mapping) or not found or set(found) - set(_SPLITS):
        raise BadInputError(str(path), expected, f"the keys {', '.join(map(repr, found)) or 'none'}")
    for split, indices in found.items():
        whole = isinstance(indices, list) and all(type(index) is int and index >= 0 for index in indices)
        if not whole:
            raise BadInputError(f"{path}: {split}", "a list of whole numbers from 0", repr(indices)[:80])
    return dict(found)


def _part(split: ImageSplit, indices: list[int], subject: str) -> ImageSplit:
    """Return the examples of these indices in the source, in their order."""
    place = {index: row for row, index in enumerate(split.indices.tolist())}
    for index in indices:
        if index not in place:
            expected = f"indices of the {len(place)} images, {min(place)} to {max(place)}"
            raise BadInputError(subject, expected, str(index))
    rows = np.array([place[index] for index in indices], dtype=np.int64)
    return ImageSplit(split.images[rows], split.labels[rows], split.indices[rows])
