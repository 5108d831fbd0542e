"""Images to measure on: the embedded digits, CIFAR-10, arrays on disk; with fixed subsets."""

from pathlib import Path

from measurebench.core.errors import BadInputError, near_names
from measurebench.datasets.base import Dataset, ImageSplit

__all__ = ["Dataset", "ImageSplit", "load_dataset"]

KNOWN = ("digits", "cifar10", "cifar100", "arrays:FILE.npz")


def load_dataset(name: str, data_dir: str | Path | None = None) -> Dataset:
    """Load ``digits``, ``cifar10`` (downloaded once, or read from ``data_dir``) or ``arrays:FILE.npz``."""
    if name == "digits":
        from measurebench.datasets import digits

        return digits.load()
    if name.startswith("arrays:"):
        from measurebench.datasets import arrays

        return arrays.load(Path(name.removeprefix("arrays:")))
    if name in ("cifar10", "cifar100"):
        from measurebench.datasets import cifar

        return cifar.load(name, Path(data_dir) if data_dir else None)
    raise BadInputError("dataset", ", ".join(KNOWN), repr(name), near_names(name, KNOWN))
