"""Images to measure on: the embedded digits, CIFAR-10, arrays on disk; with fixed subsets."""

from pathlib import Path

from measurebench.core.errors import BadInputError, near_names
from measurebench.datasets.base import Dataset, ImageSplit

__all__ = ["Dataset", "ImageSplit", "load_dataset"]

KNOWN = ("digits", "cifar10", "cifar100", "cifar10:robustbench", "arrays:FILE.npz")


def load_dataset(name: str, data_dir: str | Path | None = None, *, offline: bool = False) -> Dataset:
    """Load ``digits``, ``cifar10`` (downloaded once, or read from ``data_dir``) or ``arrays:FILE.npz``.

    ``cifar100`` alike; ``cifar10:robustbench`` has its test images in the order of the file. ``offline`` refuses to
    download.
    """
    if name == "digits":
        from measurebench.datasets import digits

        return digits.load()
    if name.startswith("arrays:"):
        from measurebench.datasets import arrays

        return arrays.load(Path(name.removeprefix("arrays:")))
    family, _, order = name.partition(":")
    if family in ("cifar10", "cifar100") and order in ("", "robustbench"):
        from measurebench.datasets import cifar

        return cifar.load(family, Path(data_dir) if data_dir else None, first_test_images=bool(order), offline=offline)
    raise BadInputError("dataset", ", ".join(KNOWN), repr(name), near_names(name, KNOWN))
