"""Compares the storages that a checkpoint declares with the bytes that it holds for them, before torch reads it.

torch 2.8 believes the size that the pickle declares, so a tensor of a hostile file may show memory beyond the file.
Newer releases of torch compare the two themselves.
"""

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from measurebench.models.formats import Format

__all__ = ["check_storages"]


def check_storages(path: Path, kind: Format) -> None:
    """Follow the pickle of torch's zip file without importing or running anything that it names.

    Raises UnpicklingError where a storage is declared larger than the record that holds its numbers, and whatever
    the pickle module raises where the stream is damaged.
    """
    with zipfile.ZipFile(path) as archive, archive.open(kind.prefix) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its classes of storages deprecated, and still writes their names
        folder = kind.prefix.removesuffix("data.pkl") + "data/"
        _Storages(stream, {member.filename: member.file_size for member in archive.infolist()}, folder).load()


class _Inert:
    """Stands for every object of the file: takes what it is given and does nothing."""

    def __init__(self, *_arguments: Any, **_named: Any) -> None: ...

    def __call__(self, *_arguments: Any, **_named: Any) -> "_Inert":
        return self

    def __setstate__(self, _state: Any) -> None: ...

    def __setitem__(self, _key: Any, _value: Any) -> None: ...

    def append(self, _item: Any) -> None: ...

    def extend(self, _items: Any) -> None: ...

    def add(self, _item: Any) -> None: ...


# The unpickler written in Python: the one in C reserves as much memory as a hostile index asks for.
class _Storages(pickle._Unpickler):
    def __init__(self, stream: Any, sizes: dict[str, int], folder: str) -> None:
        super().__init__(stream, encoding="utf-8")
        self._sizes, self._folder = sizes, folder

    def find_class(self, module: str, name: str) -> Any:
        """Return the number of bytes of an element for a class of storages, an inert class for anything else."""
        if name.endswith("Storage") and module in ("torch", "torch.storage"):
            return 1 if name == "UntypedStorage" else getattr(torch, name).dtype.itemsize
        return _Inert

    def persistent_load(self, saved: Any) -> Any:
        """Compare one storage, ``("storage", class, key, device, number of elements)``, with its record."""
        _, itemsize, key, _, n_elements = saved
        held = self._sizes.get(f"{self._folder}{key}")
        if held is None or not 0 <= itemsize * n_elements <= held:
            raise pickle.UnpicklingError(
                f"storage {key} is said to hold {n_elements} elements of {itemsize} bytes, its record {held} bytes"
            )
        return _Inert()
