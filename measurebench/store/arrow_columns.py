"""Columns of an Arrow table: their numbers, the codes of their texts, and the values of some rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["Column", "array_of", "codes_of", "distinct", "ints_of", "texts_of"]

_FEW = 1 << 16  # places of a table of codes, whatever the number of rows


def array_of(table: pa.Table, name: str) -> pa.Array:
    """Return a column in one piece."""
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()  # which copies even a single chunk


def ints_of(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    """Return a column of whole numbers, [n], with 0 for those that the column cannot hold."""
    column = array_of(table, name)
    column = column.fill_null(0) if column.null_count else column  # which copies in any case
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.int64)


def codes_of(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    """Return the codes of a column of texts, [n]."""
    return np.asarray(array_of(table, name).indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def texts_of(table: pa.Table, name: str) -> list[str]:
    """Return the texts of a column by their codes."""
    found: list[str] = array_of(table, name).dictionary.to_pylist()
    return found


def distinct(codes: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first row of each different code, in their order, and of each row [n] which of them it has [n].

    >>> [found.tolist() for found in distinct(np.array([7, 3, 7, 5]))]
    [[1, 3, 0], [2, 0, 2, 1]]
    """
    n = len(codes)
    if not n or codes.min() < 0 or codes.max() > n + _FEW:
        _, first, place = np.unique(codes, return_index=True, return_inverse=True)
        return first.astype(np.int64), place.astype(np.int64)
    # Without sorting, in a fraction of the time and memory.
    first = np.full(int(codes.max()) + 1, n, dtype=np.int64)
    first[codes[::-1]] = np.arange(n - 1, -1, -1)
    present = first < n
    return first[present], (np.cumsum(present) - 1)[codes]


@dataclass(frozen=True)
class Column:
    """A column whose values are made when they are asked for: codes with their texts, numbers, or texts of Arrow."""

    found: Any
    texts: Any = None
    missing: Any = None

    @classmethod
    def of(cls, table: pa.Table, name: str, *, decodes: bool = True) -> "Column":
        """Return a column of a table; without ``decodes``, the codes of its texts."""
        column = array_of(table, name)
        if pa.types.is_dictionary(column.type):
            codes = column.indices.to_numpy(zero_copy_only=False)
            return cls(codes, np.array(texts_of(table, name), dtype=object) if decodes else None)
        if pa.types.is_string(column.type):
            return cls(column)
        missing = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
        return cls((column if missing is None else column.fill_null(0)).to_numpy(zero_copy_only=False), None, missing)

    def values(self, rows: slice | npt.NDArray[np.int64]) -> list[Any]:
        """Return the values of some rows, a slice or their numbers [n]."""
        if isinstance(self.found, pa.Array):
            some = self.found[rows] if isinstance(rows, slice) else self.found.take(pa.array(rows))
            return list(some.to_numpy(zero_copy_only=False))
        found = self.found[rows] if self.texts is None else self.texts[self.found[rows]]
        if self.missing is None:
            return list(found.tolist())
        lacks = self.missing[rows].tolist()
        return [None if lacking else value for value, lacking in zip(found.tolist(), lacks, strict=True)]
