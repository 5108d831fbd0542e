"""The registry of data sets: a decorator beside each loader adds it, here and in third-party packages."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, TypeVar

import measurebench.datasets as package
from measurebench.core.importing import import_submodules
from measurebench.core.origins import origin_of
from measurebench.core.plugins import load_entry_points
from measurebench.core.registry import Registry
from measurebench.datasets.base import Dataset

__all__ = ["DatasetSource", "Loader", "all_datasets", "register_dataset"]


class Loader(Protocol):
    """A function that loads a data set."""

    def __call__(self, argument: str, *, data_dir: Path | None, offline: bool) -> Dataset:
        """Return the data set.

        ``argument`` is what followed the name and a colon (``FILE.npz`` of ``arrays:FILE.npz``), empty for nothing;
        ``data_dir`` is the folder that the user named; ``offline`` forbids downloads.
        """
        ...


L = TypeVar("L", bound=Loader)


@dataclass(frozen=True)
class DatasetSource:
    """A data set that can be named: ``form`` is how (``arrays:FILE.npz``), ``summary`` one sentence on it."""

    name: str
    load: Loader
    summary: str
    form: str


_DATASETS: Registry[DatasetSource] = Registry("dataset")


def register_dataset(name: str, *, summary: str, form: str = "") -> Callable[[L], L]:
    """Register the decorated loader under a name; ``form`` shows an argument after it, such as ``arrays:FILE.npz``.

    The decorator raises BadInputError, which names both origins, for a name that is taken.
    """

    def add(load: L) -> L:
        _DATASETS.add(name, DatasetSource(name, load, summary, form or name), origin_of(load))
        return load

    return add


def all_datasets() -> Registry[DatasetSource]:
    """Return every data set by name: the built-in ones and those of third-party packages and ``--plugin`` files.

    >>> all_datasets()["arrays"].form
    'arrays:FILE.npz'
    """
    _import_modules()
    load_entry_points("datasets", _DATASETS, lambda source: str(source.name))
    return _DATASETS


@cache
def _import_modules() -> None:
    import_submodules(package.__name__, package.__path__)
