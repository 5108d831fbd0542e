"""Reads a data set from an ``.npz`` file with ``x_train, y_train, x_test, y_test``: [n, C, H, W], uint8 or float."""

import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from measurebench.core.errors import BadInputError, near_names
from measurebench.core.limits import ARRAYS_BYTES, CLASSES
from measurebench.core.npz import check_arrays
from measurebench.core.reading import check_file
from measurebench.datasets.base import Dataset, ImageSplit, balanced_order
from measurebench.datasets.registry import register_dataset

__all__ = ["OPTIONAL", "REQUIRED", "Array", "load"]

REQUIRED = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL = ("x_extra", "y_extra", "x_validation", "y_validation")
Array = npt.NDArray[np.generic]
# Besides the errors of archives: numpy gives a damaged header to Python's own tokenizer and parser.
_DAMAGED = (OSError, ValueError, EOFError, RuntimeError, SyntaxError, tokenize.TokenError)


def load(path: Path) -> Dataset:
    """Return the data set of a file, its splits in a class-balanced order from a fixed seed.

    The file may also hold ``x_extra, y_extra`` and ``x_validation, y_validation``. Floats must lie in [0, 1]; uint8 is
    divided by 255. Raises BadInputError, which names the key, what was expected and what came.
    """
    found = _read(path)
    parts = {name: _split(found, name, path) for name in ("train", "test")}
    parts |= {name: _split(found, name, path) for name in ("extra", "validation") if f"x_{name}" in found}
    shapes = {name: split.images.shape[1:] for name, split in parts.items()}
    if len(set(shapes.values())) > 1:
        raise BadInputError(str(path), "images of one shape", ", ".join(f"{k} {v}" for k, v in shapes.items()))
    n_classes = int(max(split.labels.max() for split in parts.values())) + 1
    CLASSES.check(n_classes, f"{path}: labels")
    names = tuple(str(i) for i in range(n_classes))
    return Dataset(
        f"arrays:{path.name}",
        names,
        parts["train"],
        parts["test"],
        parts.get("extra"),
        parts.get("validation"),
    )


@register_dataset("arrays", summary="Images and labels in one .npz file of the user.", form="arrays:FILE.npz")
def _named(argument: str, *, data_dir: Path | None, offline: bool) -> Dataset:  # noqa: ARG001 - the loader's signature
    return load(Path(argument))


def _read(path: Path) -> dict[str, Array]:
    """Read the arrays. Pickled objects are refused, since they could run code."""
    try:
        check_file(path, ARRAYS_BYTES, "an .npz file")
        with path.open("rb") as file:
            check_arrays(file, str(path))
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise BadInputError(str(path), f"an .npz file with {', '.join(REQUIRED)}", "a single array")
            _check_keys(list(archive.files), path)
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise BadInputError(f"arrays:{path}", "an .npz file", "no such file") from None
    except (*_DAMAGED, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, BadInputError):
            raise
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInputError(str(path), "an .npz file of plain arrays", first, "write it with numpy.savez") from None


def _check_keys(names: list[str], path: Path) -> None:
    """Check that the four keys are there and none is misspelt."""
    known = (*REQUIRED, *OPTIONAL)
    for name in names:
        if name not in known:
            hint = near_names(name, known)
            raise BadInputError(f"{path}: {name}", f"one of the keys {', '.join(known)}", repr(name), hint)
    for name in (*REQUIRED, *(pair for pair in OPTIONAL if pair[2:] in {n[2:] for n in names})):
        if name not in names:
            raise BadInputError(str(path), f"the key {name!r}", f"only {', '.join(names)}")


def _split(found: dict[str, Array], name: str, path: Path) -> ImageSplit:
    """Check one split and put it in balanced order."""
    images, labels = found[f"x_{name}"], found[f"y_{name}"]
    where = f"{path}: x_{name}"
    if images.ndim != 4 or len(images) == 0:
        raise BadInputError(where, "images [n, channels, height, width], at least one", str(list(images.shape)))
    if images.shape[1] > 4 and images.shape[3] in (1, 3):
        raise BadInputError(
            where,
            "channels before height and width",
            f"shape {list(images.shape)}",
            "transpose it with (0, 3, 1, 2)",
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1 or len(labels) != len(images):
        got = f"{labels.dtype} {list(labels.shape)} for {len(images)} images"
        raise BadInputError(f"{path}: y_{name}", "one integer label for each image", got)
    if int(labels.min()) < 0:
        raise BadInputError(f"{path}: y_{name}", "labels from 0", f"{int(labels.min())}")
    order = balanced_order(labels.astype(np.int64))
    return ImageSplit(_in_unit_range(images, where)[order], labels.astype(np.int64)[order], order)


def _in_unit_range(images: Array, where: str) -> npt.NDArray[np.float32]:
    """Return images as float32 in [0, 1]: bytes are divided by 255, floats must lie there already."""
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255)
    if not np.issubdtype(images.dtype, np.floating):
        raise BadInputError(where, "uint8, or floats in [0, 1]", str(images.dtype))
    low, high = float(images.min()), float(images.max())
    if not (low >= 0.0 and high <= 1.0):
        cause = "divide by 255?" if low >= 0 and high > 2 else "was the input normalised already?"
        raise BadInputError(where, f"{images.dtype} in [0, 1]", f"[{low:.4g}, {high:.4g}]", cause)
    return images.astype(np.float32)
