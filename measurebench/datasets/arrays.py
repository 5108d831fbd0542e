"""Reads a data set from an ``.npz`` file with ``x_train, y_train, x_test, y_test``: [n, C, H, W], uint8 or float.

The file may hold test images alone.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from measurebench.core.errors import BadInputError, near_names
from measurebench.core.limits import ARRAYS_BYTES
from measurebench.core.limits import CLASSES as MOST_CLASSES
from measurebench.core.npz import check_arrays
from measurebench.core.reading import check_file, reading
from measurebench.datasets.base import Dataset, no_images
from measurebench.datasets.labelled import labelled
from measurebench.datasets.registry import register_dataset

__all__ = ["CLASSES", "OPTIONAL", "REQUIRED", "Array", "load"]

CLASSES = "n_classes"
_USUAL = ("x_train", "y_train", "x_test", "y_test")
REQUIRED = ("x_test", "y_test")
OPTIONAL = ("x_train", "y_train", "x_extra", "y_extra", "x_validation", "y_validation")
Array = npt.NDArray[np.generic]


def load(path: Path) -> Dataset:
    """Return the data set of a file, its splits in a class-balanced order from a fixed seed.

    Without ``x_train, y_train`` there are no training images. The file may also hold ``x_extra, y_extra`` and
    ``x_validation, y_validation``, and the number of classes as ``n_classes``: without it there are at least as many
    as the labels need, but the highest classes may be missing. Floats must lie in [0, 1], and what rounding left
    outside is clamped; uint8 is divided by 255. Raises BadInputError, which names the key, what was expected and what
    came.
    """
    found = _read(path)
    parts = {
        name: labelled(found[f"x_{name}"], found[f"y_{name}"], f"{path}: x_{name}", f"{path}: y_{name}")
        for name in ("train", "test", "extra", "validation")
        if f"x_{name}" in found
    }
    shapes = {name: split.images.shape[1:] for name, split in parts.items()}
    if len(set(shapes.values())) > 1:
        raise BadInputError(str(path), "images of one shape", ", ".join(f"{k} {v}" for k, v in shapes.items()))
    needed = int(max(split.labels.max() for split in parts.values())) + 1
    stated = _stated_classes(found, needed, path)
    return Dataset(
        f"arrays:{path.name}",
        tuple(str(i) for i in range(stated or needed)),
        parts.get("train", no_images(parts["test"])),
        parts["test"],
        parts.get("extra"),
        parts.get("validation"),
        classes_known=stated is not None,
    )


@register_dataset("arrays", summary="Images and labels in one .npz file of the user.", form="arrays:FILE.npz")
def _named(argument: str, *, data_dir: Path | None, offline: bool) -> Dataset:  # noqa: ARG001 - the loader's signature
    return load(Path(argument))


def _read(path: Path) -> dict[str, Array]:
    """Read the arrays. Pickled objects are refused, since they could run code."""
    expected, hint = "an .npz file of plain arrays", "write it with numpy.savez"
    if not path.exists():
        raise BadInputError(f"arrays:{path}", "an .npz file", "no such file")
    with reading(path, expected, hint):
        check_file(path, ARRAYS_BYTES, expected)
        with path.open("rb") as file:
            check_arrays(file, str(path), f"an .npz file with {', '.join(_USUAL)}")
            archive = np.load(file, allow_pickle=False)
            _check_keys(list(archive.files), path)
            found = {name: archive[name] for name in archive.files}
        for name, array in found.items():
            if not isinstance(array, np.ndarray):  # numpy returns the bytes of a member that is no .npy file
                raise BadInputError(f"{path}: {name}", "an array of numpy", "other bytes", hint)
        return found


def _check_keys(names: list[str], path: Path) -> None:
    """Check that images have their labels, that there are test images, and that no key is misspelt."""
    known = (*_USUAL, *OPTIONAL[2:], CLASSES)
    for name in names:
        if name not in known:
            hint = near_names(name, known) or "images are x_train and x_test, their labels y_train and y_test"
            raise BadInputError(f"{path}: {name}", f"one of the keys {', '.join(known)}", repr(name), hint)
    for name in (*REQUIRED, *(pair for pair in OPTIONAL if pair[2:] in {n[2:] for n in names if n != CLASSES})):
        if name not in names:
            raise BadInputError(str(path), f"the key {name!r}", f"only {', '.join(names)}")


def _stated_classes(found: dict[str, Array], needed: int, path: Path) -> int | None:
    """Return the number of classes that the file states, if it does; at least ``needed``."""
    if CLASSES not in found:
        return None
    value = found[CLASSES]
    if (
        value.size != 1
        or not np.issubdtype(value.dtype, np.integer)
        or not needed <= int(value.item()) <= MOST_CLASSES.allowed
    ):
        got = str(value.item()) if value.size == 1 else f"{value.dtype} {list(value.shape)}"
        raise BadInputError(f"{path}: {CLASSES}", f"one whole number from {needed} to {MOST_CLASSES.allowed}", got[:80])
    return int(value.item())
