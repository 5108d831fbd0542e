"""The embedded data set: the 1,797 handwritten digits of scikit-learn, 8x8 pixels, with a fixed split."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from measurebench.core.errors import BadInputError
from measurebench.core.paths import data_folder
from measurebench.datasets.base import Dataset, ImageSplit, balanced_order
from measurebench.datasets.registry import register_dataset

__all__ = ["N_PER_CLASS", "load", "load_digits_images", "split_indices"]

N_PER_CLASS = {"train": 50, "extra": 20, "validation": 10}


def split_indices(labels: npt.NDArray[np.int64], seed: int = 0) -> dict[str, list[int]]:
    """Return the positions in labels [n] of each split, as data/digits/split.json holds them for the digits.

    Each class gives 50 training, 20 extra and 10 validation images. The test split has equally many of the rest from
    each class (94), so that 57 images of larger classes stay unused. The splits are disjoint, and every prefix of one
    is class-balanced.
    """
    order = balanced_order(labels, seed)
    per_class = {label: order[labels[order] == label] for label in np.unique(labels)}
    smallest = min(len(positions) for positions in per_class.values())
    splits: dict[str, list[int]] = {}
    start = 0
    sizes = N_PER_CLASS | {"test": smallest - sum(N_PER_CLASS.values())}
    for name, size in sizes.items():
        rows = np.stack([positions[start : start + size] for positions in per_class.values()], axis=1)
        splits[name] = [int(i) for i in rows.reshape(-1)]
        start += size
    return splits


def load_digits_images() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return all images, float32 [1797, 1, 8, 8] in [0, 1] (grey levels 0 to 16 divided by 16), and labels [1797].

    They are read from scikit-learn's own file, since importing scikit-learn takes longer than measuring a small
    network. Raises BadInputError where scikit-learn is not installed.
    """
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise BadInputError("dataset digits", "scikit-learn, which holds the images", "no such package")
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    rows = np.loadtxt(file, delimiter=",") if file.is_file() else _through_scikit_learn()
    images = (rows[:, :64] / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    return images, rows[:, 64].astype(np.int64)


def _through_scikit_learn() -> npt.NDArray[np.float64]:
    """Return grey levels and labels, [1797, 65], from a scikit-learn that keeps its file elsewhere."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target])


def load() -> Dataset:
    """Return the digits: 500 training, 940 test, 200 extra and 100 validation images."""
    images, labels = load_digits_images()
    committed = json.loads(data_folder("digits", "split.json").read_text())
    splits = {name: np.asarray(rows, dtype=np.int64) for name, rows in committed["indices"].items()}
    parts = {name: ImageSplit(images[rows], labels[rows], rows) for name, rows in splits.items()}
    return Dataset(
        "digits",
        tuple(str(digit) for digit in range(10)),
        parts["train"],
        parts["test"],
        parts["extra"],
        parts["validation"],
    )


@register_dataset("digits", summary="The embedded 8x8 digits of scikit-learn: 500 training and 940 test images.")
def _named(argument: str, *, data_dir: Path | None, offline: bool) -> Dataset:  # noqa: ARG001 - the loader's signature
    if argument:
        raise BadInputError("dataset", "digits", repr(f"digits:{argument}"))
    return load()
