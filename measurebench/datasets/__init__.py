"""Images to measure on: the embedded digits, CIFAR-10 and CIFAR-100, arrays on disk; each with fixed splits."""

from pathlib import Path

from measurebench.core.errors import BadInputError, near_names
from measurebench.datasets.base import Dataset, ImageSplit, clamped

__all__ = ["Dataset", "ImageSplit", "load_dataset"]


def load_dataset(
    name: str, data_dir: str | Path | None = None, *, offline: bool = False, classes: int | None = None
) -> Dataset:
    """Return the data set ``digits``, ``cifar10``, ``cifar100``, ``arrays:FILE.npz``, or a third-party one.

    CIFAR is downloaded once, or read from ``data_dir``; ``offline`` forbids the download. ``cifar10:robustbench`` has
    the test images in the order of the file. ``classes`` is the number of classes, where the labels of a file may lack
    the highest ones. Raises BadInputError for an unknown name, for and files that cannot be used. What rounding left
    outside [0, 1] is clamped.

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
    loaded = known[family].load(argument, data_dir=Path(data_dir) if data_dir else None, offline=offline)
    return clamped(loaded if classes is None else loaded.with_classes(classes))
