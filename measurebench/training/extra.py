"""Extra training images from a user's file, such as pseudo-labelled or generated ones."""

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from measurebench.core.errors import BadInputError
from measurebench.core.npz import check_arrays
from measurebench.core.reading import kind_of
from measurebench.datasets.base import Dataset, ImageSplit

__all__ = ["with_extra_file"]

_IMAGE_KEYS = ("images", "image", "x_extra", "data")
_LABEL_KEYS = ("labels", "label", "y_extra", "extrapolated_targets")


def with_extra_file(dataset: Dataset, file: str | None) -> Dataset:
    """Return the dataset with the extra images of an ``.npz`` file (as it is without a file).

    ``images`` uint8 or float in [0, 1], [n, C, H, W] or [n, H, W, C]; ``labels`` int [n]. Other known names of the
    two arrays: ``image``/``label`` (generated CIFAR-10 images), ``data``/``extrapolated_targets`` (the pseudo-labelled
    tiny images of Carmon et al. 2019, whose pickle has to be saved as npz first). Raises BadInputError for a file that
    cannot be read or whose arrays do not fit the dataset.
    """
    if file is None:
        return dataset
    path = Path(file)
    if not path.is_file():
        raise BadInputError("--extra-data", "an .npz file with images and labels", f"{file}: {kind_of(path)}")
    try:
        with path.open("rb") as opened, _checked(opened, path) as arrays:
            images, labels = _array(arrays, _IMAGE_KEYS, path), _array(arrays, _LABEL_KEYS, path)
    except BadInputError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadInputError(str(path), "an .npz file with images and labels", str(error)) from error
    split = ImageSplit(
        _images(images, dataset, path), _labels(labels, len(images), dataset, path), np.arange(len(images))
    )
    return replace(dataset, extra=split)


def _checked(opened: IO[bytes], path: Path) -> "np.lib.npyio.NpzFile":
    """Return the arrays of an open file, of which none is read yet."""
    check_arrays(opened, str(path), "an .npz file with images and labels")
    arrays: np.lib.npyio.NpzFile = np.load(opened, allow_pickle=False)
    return arrays


def _array(arrays: "np.lib.npyio.NpzFile", names: tuple[str, ...], path: Path) -> np.ndarray:
    for name in names:
        if name in arrays.files:
            return np.asarray(arrays[name])
    raise BadInputError(str(path), f"an array called {' or '.join(names)}", ", ".join(arrays.files) or "an empty file")


def _images(images: np.ndarray, dataset: Dataset, path: Path) -> np.ndarray:
    """Return float32 [n, C, H, W] in [0, 1]."""
    shape = dataset.train.images.shape[1:]
    if images.ndim == 4 and images.shape[1:] == (shape[1], shape[2], shape[0]) and images.shape[1:] != shape:
        images = images.transpose(0, 3, 1, 2)
    if images.shape[1:] != shape or not len(images):
        raise BadInputError(f"{path}: images", f"shape [n, {', '.join(map(str, shape))}]", str(list(images.shape)))
    scaled = images.astype(np.float32) / 255 if images.dtype == np.uint8 else images.astype(np.float32)
    if not (np.isfinite(scaled).all() and scaled.min() >= 0 and scaled.max() <= 1):
        raise BadInputError(
            f"{path}: images", "uint8, or float in [0, 1]", f"{images.dtype} in [{images.min()}, {images.max()}]"
        )
    return np.ascontiguousarray(scaled)


def _labels(labels: np.ndarray, n: int, dataset: Dataset, path: Path) -> np.ndarray:
    """Return int64 [n], every one a class of the dataset."""
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise BadInputError(f"{path}: labels", f"{n} whole numbers", f"{labels.dtype} of shape {list(labels.shape)}")
    if labels.min() < 0 or labels.max() >= dataset.n_classes:
        raise BadInputError(
            f"{path}: labels", f"classes 0 to {dataset.n_classes - 1}", f"{labels.min()} to {labels.max()}"
        )
    return labels.astype(np.int64)
