"""The embedded default: scikit-learn's 1,797 handwritten digits, 8x8, split by committed indices."""

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
    """Return the rule behind data/digits/split.json: per class 50 training, 20 extra, 10 validation images.

    The test split takes as many of the rest as every class has (94 of each). All four are disjoint and in an
    order of which every prefix is class-balanced; 57 images of the larger classes stay unused.
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
    """Return all images, float32 [1797, 1, 8, 8] in [0, 1] (grey levels 0 to 16 divided by 16), and labels.

    They are read from scikit-learn's own file: importing the package takes longer than measuring a small network.
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
    """Return the digits dataset with its committed split."""
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
