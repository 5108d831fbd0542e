"""Reads data sets of picture files: a folder for each class, or a CSV file of paths and labels."""

import csv
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from measurebench.core.errors import BadInputError
from measurebench.core.limits import ARRAYS_BYTES, CLASSES, PICTURE_PIXELS, TEXT_BYTES
from measurebench.core.reading import check_file, read_text
from measurebench.datasets.base import Dataset, ImageSplit, balanced_order
from measurebench.datasets.registry import register_dataset

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["load_folder", "load_list", "opened", "picture_files"]

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_TEST = ("test", "val", "valid", "validation")
_COLUMNS = ("path", "label", "split")
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class _Entry:
    """A picture file and the name of its class."""

    file: Path
    label: str


@register_dataset(
    "imagefolder", summary="Picture files in train/CLASS/ and test/CLASS/ of a folder.", form="imagefolder:DIR"
)
def _folder(argument: str, *, data_dir: Path | None, offline: bool) -> Dataset:  # noqa: ARG001 - the loader's signature
    return load_folder(Path(argument or data_dir or ""))


@register_dataset(
    "csv", summary="Picture files listed in a CSV file with the columns path, label and split.", form="csv:FILE.csv"
)
def _list(argument: str, *, data_dir: Path | None, offline: bool) -> Dataset:  # noqa: ARG001 - the loader's signature
    return load_list(Path(argument))


def load_folder(folder: Path) -> Dataset:
    """Return the data set of a folder with ``train`` and ``test`` (or ``val``), with a folder for each class.

    Classes are numbered in the order of their names, as torchvision's ImageFolder does; names that are all numbers are
    the numbers. All pictures must have one size; grey ones stay grey where all are. Raises BadInputError, which names
    the folder or file, what was expected and what came.
    """
    test = next((folder / name for name in _TEST if (folder / name).is_dir()), folder / _TEST[0])
    splits = {}
    for name, place in (("train", folder / "train"), ("test", test)):
        if not place.is_dir():
            expected = "a folder with train and test (or val), each with a folder of pictures for every class"
            raise BadInputError(str(folder), expected, f"no folder {place.name}")
        splits[name] = [_Entry(file, label) for file, label in picture_files(place)]
    return _dataset(f"imagefolder:{folder.resolve().name}", str(folder), splits)


def picture_files(place: Path) -> list[tuple[Path, str]]:
    """Return the pictures in a folder with a folder for each class, with the names of their classes, in order."""
    return [
        (file, group.name)
        for group in sorted(place.iterdir())
        if group.is_dir()
        for file in sorted(group.iterdir())
        if file.suffix.lower() in _ENDINGS
    ]


def load_list(file: Path) -> Dataset:
    """Return the data set of a CSV file with the columns ``path``, ``label`` and ``split`` (train or test).

    Paths are relative to the file's folder. Labels are numbers from 0, or names, which are numbered in their order.
    Raises BadInputError, which names the file and the line.
    """
    expected = f"a CSV file with the columns {', '.join(_COLUMNS)}"
    try:
        text = read_text(file, TEXT_BYTES, expected)
    except FileNotFoundError:
        raise BadInputError(f"csv:{file}", expected, "no such file") from None
    except UnicodeDecodeError:
        raise BadInputError(str(file), expected, "bytes that are not text") from None
    rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    if not set(_COLUMNS) <= set(rows.fieldnames or ()):
        raise BadInputError(str(file), expected, f"the columns {', '.join(rows.fieldnames or ()) or 'none'}")
    splits: dict[str, list[_Entry]] = {"train": [], "test": []}
    for row in rows:
        split, label, path = (str(row[name] or "").strip() for name in ("split", "label", "path"))
        if split not in splits or not label or not path:
            raise BadInputError(f"{file}, line {rows.line_num}", "a path, a label, and train or test", str(row)[:80])
        splits[split].append(_Entry(file.parent / path, label))
    return _dataset(f"csv:{file.name}", str(file), splits)


def _dataset(name: str, where: str, splits: Mapping[str, Sequence[_Entry]]) -> Dataset:
    """Read the pictures of both splits."""
    for split, entries in splits.items():
        if not entries:
            raise BadInputError(where, f"pictures to {split} on", "none")
    classes = _classes([entry.label for entries in splits.values() for entry in entries], where)
    CLASSES.check(len(classes), f"{where}: classes")
    numbers = {label: number for number, label in enumerate(classes)}
    grey = all(_is_grey(entry.file) for entries in splits.values() for entry in entries)
    shape = _pixels(splits["train"][0].file, grey).shape
    n_images = sum(map(len, splits.values()))
    ARRAYS_BYTES.check(n_images * int(np.prod(shape)) * _FLOAT_BYTES, where)
    parts = {split: _split(entries, numbers, grey, shape) for split, entries in splits.items()}
    return Dataset(name, classes, parts["train"], parts["test"])


def _classes(labels: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the names of the classes by number; labels that are all numbers are the numbers themselves."""
    found = set(labels)
    if all(label.isascii() and label.isdigit() and len(label) < 7 for label in found):
        largest = max(map(int, found))
        CLASSES.check(largest + 1, f"{where}: labels")
        plain = {str(int(label)) for label in found}
        return tuple(str(number) for number in range(largest + 1)) if plain == found else tuple(sorted(found))
    return tuple(sorted(found))


def _split(entries: Sequence[_Entry], numbers: Mapping[str, int], grey: bool, shape: tuple[int, ...]) -> ImageSplit:
    """Return one split in a class-balanced order; indices are the places in the list."""
    labels = np.array([numbers[entry.label] for entry in entries], dtype=np.int64)
    order = balanced_order(labels)
    images = np.empty((len(entries), *shape), dtype=np.float32)
    for row, place in enumerate(order):
        pixels = _pixels(entries[place].file, grey)
        if pixels.shape != shape:
            got = f"{list(shape)} and {list(pixels.shape)}"
            raise BadInputError(str(entries[place].file), "pictures of one size", got, "scale them to one size first")
        images[row] = pixels
    return ImageSplit(images, labels[order], order)


def _is_grey(file: Path) -> bool:
    with opened(file) as picture:
        return picture.mode in ("1", "L", "LA")


@contextmanager
def opened(file: Path) -> Iterator["Picture"]:
    """Open a picture file, of which only the header is read so far. Raises BadInputError for any other file."""
    from PIL import Image, UnidentifiedImageError

    try:
        check_file(file, None, "a picture (PNG, JPEG, ...)")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
            picture = Image.open(file)
    except FileNotFoundError:
        raise BadInputError(str(file), "a picture (PNG, JPEG, ...)", "no such file") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError) as error:
        raise BadInputError(str(file), "a picture (PNG, JPEG, ...)", str(error)) from error
    with picture:
        PICTURE_PIXELS.check(picture.width * picture.height, str(file))
        yield picture


def _pixels(file: Path, grey: bool) -> npt.NDArray[np.float32]:
    """Return a picture file as pixels [1, H, W] or [3, H, W] in [0, 1]."""
    with opened(file) as picture:
        try:
            pixels = np.asarray(picture.convert("L" if grey else "RGB"), dtype=np.float32) / np.float32(255)
        except (OSError, ValueError, SyntaxError) as error:  # the header was whole, the pixels are not
            raise BadInputError(str(file), "a whole picture (PNG, JPEG, ...)", str(error)) from error
    return np.ascontiguousarray(pixels[None] if grey else np.moveaxis(pixels, -1, 0))
