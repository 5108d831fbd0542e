"""Reads CIFAR-10 and CIFAR-100 in their original form, whole or in part; downloads them once if no folder is given.

Training and test images are shuffled by a fixed seed, in such a way that every prefix is class-balanced. Of a whole
training set, 1,000 images with equally many of each class become ``validation``: training chooses checkpoints on them,
and they are never measured. ``cifar10:robustbench`` keeps the test images in the order of the file, of which
RobustBench takes the first n (Croce et al. 2021, arXiv:2010.09670).
"""

import os
import pickle
import tarfile
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from measurebench.core.download import Remote, fetch
from measurebench.core.errors import BadInputError
from measurebench.core.paths import cache_folder
from measurebench.datasets.base import Dataset, ImageSplit, balanced_order
from measurebench.datasets.registry import register_dataset

__all__ = ["LAYOUTS", "N_TRAIN", "N_VALIDATION", "SEED", "Bytes", "Labels", "Layout", "load"]

SEED = 0
N_VALIDATION = 1000
N_TRAIN = 50_000
# All that the pickles of the original files name: a class outside this list is not imported.
_SAFE = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
Bytes = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """The files of a dataset as its authors publish it (https://www.cs.toronto.edu/~kriz/cifar.html)."""

    folder: str
    archive: str
    md5: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: str
    names: str
    n_classes: int


LAYOUTS = {
    "cifar10": Layout(
        "cifar-10-batches-py",
        "cifar-10-python.tar.gz",
        "c58f30108f718f92721af3b95e74349a",
        tuple(f"data_batch_{i}" for i in range(1, 6)),
        "test_batch",
        "batches.meta",
        "labels",
        "label_names",
        10,
    ),
    "cifar100": Layout(
        "cifar-100-python",
        "cifar-100-python.tar.gz",
        "eb9058c3a382ffc7106e4002c42a8d85",
        ("train",),
        "test",
        "meta",
        "fine_labels",
        "fine_label_names",
        100,
    ),
}


def load(name: str, data_dir: Path | None = None, *, first_test_images: bool = False, offline: bool = False) -> Dataset:
    """Return CIFAR-10 or CIFAR-100 from a folder, or from the cache, where it is downloaded once.

    ``data_dir`` holds the original files or the folder of them. They may have any number of rows, and some of the
    training files may be missing. ``first_test_images`` keeps the file's order of test images. Raises BadInputError
    for a folder without the files, and for a damaged file.
    """
    layout = LAYOUTS[name]
    folder = _folder(layout, data_dir) if data_dir else _cached(layout, offline)
    batches = [_read_batch(folder / file, layout) for file in layout.train if (folder / file).is_file()]
    if not batches:
        raise BadInputError(str(folder), f"at least one of {', '.join(layout.train)}", "none of them")
    images = np.concatenate([pixels for pixels, _ in batches])
    labels = np.concatenate([classes for _, classes in batches])
    test_images, test_labels = _read_batch(folder / layout.test, layout)
    order = balanced_order(labels, SEED)
    n_held = N_VALIDATION if len(labels) == N_TRAIN else 0
    test_order = np.arange(len(test_labels)) if first_test_images else balanced_order(test_labels, SEED)
    return Dataset(
        name,
        _class_names(folder, layout),
        train=_split(images, labels, order[n_held:]),
        test=_split(test_images, test_labels, test_order),
        validation=_split(images, labels, order[:n_held]) if n_held else None,
        notes={
            "folder": str(folder),
            "test order": "as in the file" if first_test_images else f"seed {SEED}",
        },
    )


def _named(name: str, argument: str, *, data_dir: Path | None, offline: bool) -> Dataset:
    if argument not in ("", "robustbench"):
        raise BadInputError("dataset", f"{name} or {name}:robustbench", repr(f"{name}:{argument}"))
    return load(name, data_dir, first_test_images=bool(argument), offline=offline)


for _name, _title in (("cifar10", "CIFAR-10"), ("cifar100", "CIFAR-100")):
    _summary = f"{_title}, downloaded once or read from a folder with the original files."
    register_dataset(_name, summary=_summary, form=f"{_name}[:robustbench]")(partial(_named, _name))


def _split(images: Bytes, labels: Labels, rows: npt.NDArray[np.int64]) -> ImageSplit:
    """Return chosen rows as float32 images in [0, 1]."""
    pixels = np.divide(images[rows], np.float32(255), dtype=np.float32)
    return ImageSplit(pixels.reshape(-1, 3, 32, 32), labels[rows], rows.astype(np.int64))


def _folder(layout: Layout, data_dir: Path) -> Path:
    """Return the folder of the original files: the given one, or the one of the usual name in it."""
    for folder in (data_dir / layout.folder, data_dir):
        if (folder / layout.test).is_file():
            return folder
    if not data_dir.is_dir():
        raise BadInputError(f"--data-dir {data_dir}", f"a folder with {layout.folder}", "no such folder")
    inside = ", ".join(sorted(p.name for p in data_dir.iterdir())[:5]) or "an empty folder"
    raise BadInputError(
        f"--data-dir {data_dir}",
        f"{layout.folder}/ with {layout.test}",
        inside,
        f"unpack {layout.archive} there",
    )


def _cached(layout: Layout, offline: bool) -> Path:
    """Return the folder in the cache, downloading and unpacking the archive where needed."""
    home = cache_folder() / "datasets"
    folder = home / layout.folder
    if (folder / layout.test).is_file():
        return folder
    base = os.environ.get("MEASUREBENCH_MIRROR", "https://www.cs.toronto.edu/~kriz").rstrip("/")
    remote = Remote(f"{base}/{layout.archive}", f"https://www.cs.toronto.edu/~kriz/{layout.archive}")
    archive = fetch(remote, home / layout.archive, bool, md5=layout.md5, offline=offline)
    _unpack(archive, folder, layout)
    return folder


def _unpack(archive: Path, folder: Path, layout: Layout) -> None:
    """Unpack the known files of an archive into a temporary folder, then rename it."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        partial = Path(name) / layout.folder
        partial.mkdir()
        try:
            with tarfile.open(archive) as tar:
                for file in (*layout.train, layout.test, layout.meta):
                    member = tar.extractfile(f"{layout.folder}/{file}")
                    if member is None:
                        raise BadInputError(str(archive), f"the file {layout.folder}/{file}", "no regular file")
                    (partial / file).write_bytes(member.read())
        except (tarfile.TarError, KeyError, EOFError, OSError) as error:
            raise BadInputError(
                str(archive), "the original archive", str(error), "remove it to fetch it again"
            ) from None
        if not folder.is_dir():
            partial.rename(folder)


class _Reader(pickle.Unpickler):
    """Unpickles numpy arrays and plain values; refuses anything else without running it."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Return a class that arrays are made of."""
        if (module_name, global_name) not in _SAFE:
            raise pickle.UnpicklingError(f"a pickle that would run {module_name}.{global_name}")
        return super().find_class(module_name.replace("numpy.core", "numpy._core"), global_name)


def _read_pickle(path: Path) -> dict[str, Any]:
    """Read one of the original files."""
    try:
        with path.open("rb") as file:
            found = _Reader(file, encoding="bytes").load()
    except FileNotFoundError:
        raise BadInputError(str(path), "a file of the original dataset", "no such file") from None
    except Exception as error:  # noqa: BLE001 - what a damaged pickle raises has no common class
        got = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInputError(str(path), "a file of the original dataset", got, "fetch it again") from None
    if not isinstance(found, dict):
        raise BadInputError(str(path), "a dictionary", type(found).__name__)
    return {key.decode() if isinstance(key, bytes) else str(key): value for key, value in found.items()}


def _read_batch(path: Path, layout: Layout) -> tuple[Bytes, Labels]:
    """Return the pixels [n, 3072] and labels of a file, whatever number of rows it holds."""
    content = _read_pickle(path)
    for key in ("data", layout.labels):
        if key not in content:
            raise BadInputError(str(path), f"the key {key!r}", f"only {', '.join(content)}")
    pixels, labels = np.asarray(content["data"]), np.asarray(content[layout.labels], dtype=np.int64)
    if pixels.ndim != 2 or pixels.shape[1] != 3072 or pixels.dtype != np.uint8 or len(pixels) != len(labels):
        got = f"{pixels.dtype} {list(pixels.shape)} and {len(labels)} labels"
        raise BadInputError(str(path), "uint8 rows of 3,072 pixels, a label for each", got)
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= layout.n_classes:
        raise BadInputError(str(path), f"labels from 0 to {layout.n_classes - 1}", f"{len(labels)} labels beyond them")
    return pixels, labels


def _class_names(folder: Path, layout: Layout) -> tuple[str, ...]:
    """Return the names of the classes, or their numbers where the file of names is missing."""
    path = folder / layout.meta
    if not path.is_file():
        return tuple(str(i) for i in range(layout.n_classes))
    names = _read_pickle(path).get(layout.names, [])
    if len(names) != layout.n_classes:
        raise BadInputError(str(path), f"{layout.n_classes} names of classes", str(len(names)))
    return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)
