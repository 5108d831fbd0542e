"""Images to measure on: the embedded digits, CIFAR, torchvision's data sets, files of the user, or items in memory."""

from pathlib import Path

from measurebench.core.errors import BadInputError, near_names
from measurebench.datasets.base import Dataset, ImageSplit, clamped
from measurebench.datasets.items import from_items

__all__ = ["Dataset", "ImageSplit", "from_items", "load_dataset"]


def load_dataset(
    name: str, data_dir: str | Path | None = None, *, offline: bool = False, classes: int | None = None
) -> Dataset:
    """Return a data set by its name, such as ``digits``, ``cifar10``, ``arrays:FILE.npz`` or ``torchvision:MNIST``.

    CIFAR is downloaded once, or read from ``data_dir``; ``offline`` forbids the download. ``cifar10:robustbench`` has
    the test images in the order of the file. ``classes`` is the number of classes, where the labels of a file may lack
    the highest ones. Raises BadInputError for an unknown name and for files that cannot be used. What rounding left
    outside [0, 1] is clamped.

    >>> load_dataset("digits").train.images.shape
    (500, 1, 8, 8)
    """
    from measurebench.datasets.registry import all_datasets

    known = all_datasets()
    family, _, argument = name.partition(":")
    if family not in known:
        forms = [source.form for _, source in known.items()]
        raise BadInputError("dataset", ", ".join(forms), repr(name), _hint(name) or near_names(name, [*known, *forms]))
    loaded = known[family].load(argument, data_dir=Path(data_dir) if data_dir else None, offline=offline)
    return clamped(loaded if classes is None else loaded.with_classes(classes))


def _hint(name: str) -> str:
    """Say how a file or folder is named whose path came without the word before the colon."""
    path = Path(name)
    if path.suffix in (".npz", ".csv"):
        return f"did you mean {'arrays' if path.suffix == '.npz' else 'csv'}:{name}?"
    if path.suffix in (".npy", ".pt", ".pth"):
        return "save images and labels together with numpy.savez, and name the file as arrays:FILE.npz"
    if path.is_dir():
        return f"did you mean imagefolder:{name}, a folder with train and test?"
    torchvision = ("MNIST", "FashionMNIST", "KMNIST", "SVHN", "STL10", "EMNIST", "USPS", "GTSRB")
    same = [other for other in torchvision if other.casefold() == name.casefold()]
    return f"did you mean torchvision:{same[0]}?" if same else ""
