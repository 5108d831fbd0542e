"""The contract of a data set: what its loader promises to runs, training and tables."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from measurebench.datasets import load_dataset
from measurebench.datasets.base import Dataset, ImageSplit
from measurebench.testing.promises import demand, run_promises

__all__ = ["DATASET_PROMISES", "DatasetCase", "check_dataset"]

_SPLITS = ("train", "test", "extra", "validation")
_LEAK = 0.01  # of the test images; CIFAR-10 itself has a few copies of training images among its test images


@dataclass(frozen=True)
class DatasetCase:
    """A data set by its name, loaded twice, and the folder that it is read from."""

    name: str
    data_dir: Path | None = None

    @cached_property
    def first(self) -> Dataset:
        """The data set."""
        return load_dataset(self.name, self.data_dir, offline=True)

    @cached_property
    def second(self) -> Dataset:
        """The data set, loaded again."""
        return load_dataset(self.name, self.data_dir, offline=True)

    @property
    def splits(self) -> dict[str, ImageSplit]:
        """The splits that exist, by name."""
        found = {name: getattr(self.first, name) for name in _SPLITS}
        return {name: split for name, split in found.items() if split is not None}

    def demand(self, kept: bool, promise: str, detail: str = "") -> None:
        """Raise ContractError, which names the data set, unless a promise is kept."""
        demand(kept, f"data set {self.name!r}", promise, detail)


def check_dataset(name: str, data_dir: str | Path | None = None, *, promises: Iterable[str] | None = None) -> None:
    """Check a data set by the name that ``--dataset`` takes; it is loaded offline, twice.

    ``promises`` are names in DATASET_PROMISES, by default all. Raises ContractError, an AssertionError, at the first
    promise that is broken.
    """
    case = DatasetCase(name, Path(data_dir) if data_dir else None)
    run_promises(DATASET_PROMISES, promises, case, "a data set")


def named_as_asked(case: DatasetCase) -> None:
    """Check that records will show the name by which the data set is asked for."""
    asked, got = case.name.partition(":")[0], case.first.name
    case.demand(got.partition(":")[0] == asked, "its name is the one that it is asked for by", repr(got))


def images(case: DatasetCase) -> None:
    """Check images: float32 [n, C, H, W] in [0, 1], of one shape in all splits."""
    promise = "images are float32 [n, C, H, W] in [0, 1]"
    for name, split in case.splits.items():
        array = split.images
        case.demand(isinstance(array, np.ndarray), promise, f"{name}: {type(array).__name__}")
        case.demand(array.dtype == np.float32 and array.ndim == 4, promise, f"{name}: {array.dtype} {array.shape}")
        case.demand(len(array) > 0, "every split has an image", name)
        low, high = float(array.min()), float(array.max())
        case.demand(0.0 <= low <= high <= 1.0, promise, f"{name}: [{low:.4g}, {high:.4g}]")
    shapes = {name: split.images.shape[1:] for name, split in case.splits.items()}
    case.demand(len(set(shapes.values())) == 1, "all images have one shape", str(shapes))


def labels(case: DatasetCase) -> None:
    """Check labels: int64 [n], numbers of named classes, one per image; and that every class is in training."""
    promise = f"labels are int64 [n] from 0 to {case.first.n_classes - 1}"
    for name, split in case.splits.items():
        array = split.labels
        case.demand(array.dtype == np.int64 and array.ndim == 1, promise, f"{name}: {array.dtype} {array.shape}")
        in_range = len(array) > 0 and int(array.min()) >= 0 and int(array.max()) < case.first.n_classes
        case.demand(in_range, promise, name)
        n = {"images": len(split.images), "labels": len(array), "indices": len(split.indices)}
        case.demand(len(set(n.values())) == 1, "each image has one label and one index", f"{name}: {n}")
    names = case.first.class_names
    case.demand(len(set(names)) == len(names) > 1, "at least two classes have different names", str(names))
    absent = set(range(case.first.n_classes)) - set(case.first.train.labels.tolist())
    case.demand(not absent, "every class has a training image", f"none of {sorted(absent)[:5]}")


def indices(case: DatasetCase) -> None:
    """Check indices: int64, each once in its split, since random draws and records are keyed by them."""
    for name, split in case.splits.items():
        once = split.indices.dtype == np.int64 and len(np.unique(split.indices)) == len(split.indices)
        case.demand(once, "indices are int64, each once", f"{name}: {split.indices.dtype}")


def balanced(case: DatasetCase) -> None:
    """Check that every prefix of the training images holds the classes evenly, as long as they last."""
    promise = "every prefix of the training images is balanced over the classes (see datasets.base.balanced_order)"
    counts = np.bincount(case.first.train.labels, minlength=case.first.n_classes)
    for rounds in (1, 2, int(counts.min())):
        first = case.first.train.labels[: rounds * case.first.n_classes]
        found = np.bincount(first, minlength=case.first.n_classes)
        detail = f"the first {len(first)} hold {found.tolist()[:12]}"
        case.demand(rounds > counts.min() or bool((found == rounds).all()), promise, detail)


def apart(case: DatasetCase) -> None:
    """Check that test images are not among those that networks are trained on or chosen with."""
    seen = {pixels for name, split in case.splits.items() if name != "test" for pixels in _pixels(split.images)}
    leaked = sum(pixels in seen for pixels in _pixels(case.first.test.images))
    detail = f"{leaked} of {len(case.first.test)} occur there"
    case.demand(leaked <= _LEAK * len(case.first.test), "test images are in no other split", detail)


def reproducible(case: DatasetCase) -> None:
    """Check that loading it again gives the same images in the same order."""
    for name, split in case.splits.items():
        again: ImageSplit = getattr(case.second, name)
        detail = f"the digests of {name} differ"
        case.demand(split.digest() == again.digest(), "loading it twice gives the same images and order", detail)


def _pixels(array: npt.NDArray[np.float32]) -> list[bytes]:
    return [image.tobytes() for image in array]


DATASET_PROMISES: Mapping[str, Callable[[DatasetCase], None]] = {
    "named_as_asked": named_as_asked,
    "images": images,
    "labels": labels,
    "indices": indices,
    "balanced": balanced,
    "apart": apart,
    "reproducible": reproducible,
}
