"""Reads ImageNet from a folder, its pictures prepared as RobustBench prepares them for a network.

The folder holds ``val`` and ``train``, each with a folder of pictures for every class, as ImageNet is usually unpacked.
Of ``val`` the 5,000 pictures come first that RobustBench evaluates on, in its order, as far as they are there; of
``train``, as many of each class.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from measurebench.core.errors import BadInputError, near_names
from measurebench.core.limits import ARRAYS_BYTES
from measurebench.datasets.base import Dataset, ImageSplit, balanced_order
from measurebench.datasets.folders import opened, picture_files
from measurebench.datasets.registry import register_dataset

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["N_TEST", "N_TRAIN", "PREPARATIONS", "load_imagenet", "prepared"]

N_TEST = 5_000
"""How many pictures of val are read at most: those that RobustBench evaluates on."""
N_TRAIN = 1_000
"""How many pictures of train are read at most; both together take 3.6 GB at 224 x 224 pixels."""
_FLOAT_BYTES = 4


def _middle(picture: "Picture", side: int) -> "Picture":
    """Return the middle square as torchvision's CenterCrop does: corners rounded, small pictures on black."""
    left, top = (
        round((length - side) / 2) if length >= side else -((side - length) // 2)
        for length in (picture.width, picture.height)
    )
    return picture.crop((left, top, left + side, top + side))


def _short_side(picture: "Picture", side: int, *, bicubic: bool = False) -> "Picture":
    """Return the picture scaled so that its short side has this many pixels, as torchvision's Resize does."""
    from PIL import Image

    short, long = sorted(picture.size)
    sides = {short: side, long: int(side * long / short)}
    method = Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
    return picture.resize((sides[picture.width], sides[picture.height]), method)


def _square(picture: "Picture", side: int) -> "Picture":
    """Return the whole picture scaled to a square, whatever its shape."""
    from PIL import Image

    return picture.resize((side, side), Image.Resampling.BILINEAR)


PREPARATIONS: Mapping[str, Callable[["Picture"], "Picture"]] = {
    "Res256Crop224": lambda picture: _middle(_short_side(picture, 256), 224),
    "BicubicRes256Crop224": lambda picture: _middle(_short_side(picture, 256, bicubic=True), 224),
    "Res224": lambda picture: _square(picture, 224),
    "Crop288": lambda picture: _middle(picture, 288),
}
"""RobustBench's own preparations of ImageNet's pictures, by its names."""


def prepared(picture: "Picture", name: str) -> Any:
    """Return a picture as float32 pixels [3, H, W] in [0, 1] after one of RobustBench's preparations.

    Raises BadInputError for an unknown one.
    """
    if name not in PREPARATIONS:
        raise BadInputError("preparation", " or ".join(PREPARATIONS), repr(name), near_names(name, PREPARATIONS))
    pixels = np.asarray(PREPARATIONS[name](picture.convert("RGB")), dtype=np.float32) / np.float32(255)
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


@register_dataset(
    "imagenet",
    summary="ImageNet in a folder with train and val (--data-dir), prepared as RobustBench does: Res256Crop224.",
    form="imagenet:PREPARATION",
)
def _imagenet(argument: str, *, data_dir: Path | None, offline: bool) -> Dataset:  # noqa: ARG001 - the loader's signature
    if data_dir is None:
        raise BadInputError("imagenet", "--data-dir DIR, a folder with train and val", "none")
    return load_imagenet(data_dir, argument or "Res256Crop224")


def load_imagenet(folder: Path, preparation: str = "Res256Crop224", n_test: int = N_TEST) -> Dataset:
    """Return ImageNet's first pictures from a folder, prepared in one of RobustBench's ways.

    Classes are numbered as in ImageNet where their folders have its names (``n01440764``), by the order of their names
    elsewhere. Raises BadInputError for a folder without pictures, and for an unknown preparation.
    """
    if preparation not in PREPARATIONS:
        hint = near_names(preparation, PREPARATIONS)
        raise BadInputError("imagenet", f"imagenet:{' or '.join(PREPARATIONS)}", repr(preparation), hint)
    found = {name: picture_files(_place(folder, name)) for name in ("train", "test")}
    names = sorted({label for entries in found.values() for _, label in entries})
    known = _numbers()
    numbers = known if set(names) <= set(known) else {name: number for number, name in enumerate(names)}
    classes = tuple(sorted(numbers, key=lambda name: numbers[name]))
    test = _first_of_robustbench(found["test"], numbers)[:n_test]
    train = [found["train"][place] for place in balanced_order(_labels(found["train"], numbers))][:N_TRAIN]
    return Dataset(
        f"imagenet:{preparation}",
        classes,
        train=_split(train, numbers, preparation, folder),
        test=_split(test, numbers, preparation, folder),
        notes={"folder": str(folder), "preparation": preparation},
    )


def _place(folder: Path, split: str) -> Path:
    """Return the folder of a split. Raises BadInputError where there is none."""
    names = ("train",) if split == "train" else ("val", "test")
    place = next((folder / name for name in names if (folder / name).is_dir()), None)
    if place is None:
        expected = "ImageNet: a folder with train and val, each with a folder of pictures for every class"
        raise BadInputError(str(folder), expected, f"no folder {names[0]}")
    return place


def _labels(entries: Sequence[tuple[Path, str]], numbers: Mapping[str, int]) -> Any:
    return np.array([numbers[label] for _, label in entries], dtype=np.int64)


def _first_of_robustbench(entries: Sequence[tuple[Path, str]], numbers: Mapping[str, int]) -> list[tuple[Path, str]]:
    """Return the pictures that RobustBench evaluates on, in its order; all in a balanced order where none is there."""
    order = {name: place for place, name in enumerate(_evaluated())}
    listed = [entry for entry in entries if f"{entry[1]}/{entry[0].name}" in order]
    if listed:
        return sorted(listed, key=lambda entry: order[f"{entry[1]}/{entry[0].name}"])
    return [entries[place] for place in balanced_order(_labels(entries, numbers))]


def _split(
    entries: Sequence[tuple[Path, str]], numbers: Mapping[str, int], preparation: str, where: Path
) -> ImageSplit:
    if not entries:
        raise BadInputError(str(where), "pictures in train and val", "none")
    first = _pixels(entries[0][0], preparation)
    ARRAYS_BYTES.check(len(entries) * first.size * _FLOAT_BYTES, str(where))
    images = np.empty((len(entries), *first.shape), dtype=np.float32)
    for row, (file, _) in enumerate(entries):
        images[row] = _pixels(file, preparation)
    return ImageSplit(images, _labels(entries, numbers), np.arange(len(entries)))


def _pixels(file: Path, preparation: str) -> Any:
    with opened(file) as picture:
        try:
            return prepared(picture, preparation)
        except (OSError, ValueError, SyntaxError) as error:  # the header was whole, the pixels are not
            raise BadInputError(str(file), "a whole picture (PNG, JPEG, ...)", str(error)) from error


@cache
def _numbers() -> dict[str, int]:
    """Return ImageNet's classes by the names of their folders, as the installed robustbench package lists them."""
    numbers: dict[str, int] = json.loads(_helper("imagenet_class_to_id_map.json") or "{}")
    return numbers


@cache
def _evaluated() -> tuple[str, ...]:
    """Return the pictures that RobustBench evaluates on: CLASS/FILE of each."""
    return tuple(_helper("imagenet_test_image_ids.txt").split())


def _helper(name: str) -> str:
    """Return the text of one of robustbench's helper files without importing it, which takes 15 seconds."""
    try:
        found = [file for file in files("robustbench") or [] if file.name == name]
    except PackageNotFoundError:
        return ""
    return found[0].read_text() if found else ""
