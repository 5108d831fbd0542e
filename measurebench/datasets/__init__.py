"""Images to measure on: the embedded digits, CIFAR-10 and CIFAR-100, arrays on disk; each with fixed splits."""

from pathlib import Path

from measurebench.core.errors import BadInputError, near_names
from measurebench.datasets.base import Dataset, ImageSplit

__all__ = ["Dataset", "ImageSplit", "load_dataset"]


def load_dataset(name: str, data_dir: str | Path | None = None, *, offline: bool = False) -> Dataset:
    """Return the data set ``digits``, ``cifar10``, ``cifar100``, ``arrays:FILE.npz``, or a third-party one.

    CIFAR is downloaded once, or read from ``data_dir``; ``offline`` forbids the download. ``cifar10:robustbench`` has
    the test images in the order of the file. Raises BadInputError for an unknown name, and for files that cannot be
    used.

    >>> load_dataset("digits").train.images.shape
    (500, 1, 8, 8)
    """
    from measurebench.datasets.registry import all_datasets

    known = all_datasets()
    family, _, argument = name.partition(":")
    if family not in known:
        forms = [source.form for _, source in known.items()]
        hint = f"did you mean arrays:{name}?" if name.endswith(".npz") else near_names(name, [*known, *forms])
        raise BadInputError("dataset", ", ".join(forms), repr(name), hint)
    return known[family].load(argument, data_dir=Path(data_dir) if data_dir else None, offline=offline)
