"""Limits on what is read, each with its reason: a small file must not cost hours or all of the memory.

Each limit lies far above what honest files need. An environment variable lifts it, such as
``MEASUREBENCH_MAX_GRID_RUNS=200000``; the error that a limit raises names the variable.
"""

import os
from dataclasses import dataclass

from measurebench.core.errors import BadInputError

__all__ = [
    "ARRAYS_BYTES",
    "CLASSES",
    "COLUMNS",
    "EXPANSION",
    "GRID_RUNS",
    "HEADER_BYTES",
    "JSON_BYTES",
    "LIMITS",
    "NAME_LENGTH",
    "NESTING",
    "PICKLE_BYTES",
    "PICTURE_PIXELS",
    "PICTURE_SIDE",
    "TABLE_BYTES",
    "TABLE_CELLS",
    "TENSORS",
    "TEXT_BYTES",
    "Limit",
    "LimitError",
]

_MIB = 1 << 20


class LimitError(BadInputError):
    """Input that is larger than a limit allows; the message names the limit and how to lift it."""


@dataclass(frozen=True)
class Limit:
    """At most ``usual`` of a ``unit``, for a ``reason``; the environment variable MEASUREBENCH_MAX_NAME lifts it."""

    name: str
    usual: int
    unit: str
    reason: str

    @property
    def variable(self) -> str:
        """The environment variable that lifts the limit."""
        return f"MEASUREBENCH_MAX_{self.name}"

    @property
    def allowed(self) -> int:
        """The limit that holds now. Raises BadInputError where the variable holds no whole number."""
        asked = os.environ.get(self.variable, "").strip()
        if asked and not (asked.isascii() and asked.isdigit() and len(asked) <= 18):
            raise BadInputError(self.variable, "a whole number", repr(asked))
        return int(asked) if asked else self.usual

    def check(self, found: int, subject: str) -> None:
        """Raise LimitError, which names ``subject``, where more is found than allowed.

        >>> GRID_RUNS.check(60_000, "grid.toml")  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        LimitError: grid.toml: expected at most 50,000 runs, got 60,000; ...
        """
        if found > (allowed := self.allowed):
            hint = f"{self.reason}; if you mean it, set the environment variable {self.variable}={_round(found)}"
            raise LimitError(subject, f"at most {allowed:,} {self.unit}", f"{found:,}", hint)


def _round(number: int) -> int:
    """Return a number with two digits, rounded up: what a person would set.

    >>> _round(61_234), _round(7)
    (62000, 7)
    """
    scale = int("1" + "0" * max(len(str(number)) - 2, 0))
    return -(-number // scale) * scale


# Text and JSON are read whole. TOML is read at 1 to 2 MB a second, and a manifest of 10,000 models has 3 to 6 MB.
TEXT_BYTES = Limit("TEXT_BYTES", 16 * _MIB, "bytes of text", "TOML is read at about 1 MB a second")
JSON_BYTES = Limit("JSON_BYTES", 256 * _MIB, "bytes of JSON", "it takes about ten times as much memory")
# An analysis reads the deepest JSON of ours, 8 levels. Python itself gives up near 1,000.
NESTING = Limit("NESTING", 64, "levels of nesting", "programs that walk deeper values run out of stack")
# The longest ids of RobustBench have 60 characters, the longest keys of published checkpoints about 150.
NAME_LENGTH = Limit("NAME_LENGTH", 1000, "characters of a name", "names become labels and parts of files' names")

# 10,000 models with 2,000 columns. pandas takes about 100 bytes for a cell of text.
TABLE_BYTES = Limit("TABLE_BYTES", 256 * _MIB, "bytes of a table", "it is read whole, at several times its size")
TABLE_CELLS = Limit("TABLE_CELLS", 20_000_000, "cells of a table", "each takes up to 100 bytes of memory")
COLUMNS = Limit("COLUMNS", 20_000, "columns of a table", "every column may become a measure to be judged")

# ImageNet-21k has 21,841 classes. Every class gets a name, and every network as many outputs.
CLASSES = Limit("CLASSES", 100_000, "classes", "every class gets a name and an output")
# ImageNet's training images at 64 x 64 pixels take 16 GB as bytes.
ARRAYS_BYTES = Limit("ARRAYS_BYTES", 16 * 1024 * _MIB, "bytes of arrays", "they are read into memory whole")
# Images compress by a factor of 2, drawings on white by 20; a bomb of zeros by 1,000.
EXPANSION = Limit("EXPANSION", 100, "times its size when it is unpacked", "a small archive could fill the memory")

# The largest public models have about 10,000 tensors. The library takes 2 kB and 0.1 ms for each.
TENSORS = Limit("TENSORS", 100_000, "tensors", "each takes about 2 kB of memory besides its numbers")
HEADER_BYTES = Limit("HEADER_BYTES", 32 * _MIB, "bytes of a header", "it takes about ten times as much memory")
# Without the numbers, 100,000 tensors take about 15 MB. Instructions are followed at about 5 MB a second.
PICKLE_BYTES = Limit("PICKLE_BYTES", 32 * _MIB, "bytes of a pickle", "its instructions are followed one by one")

# 50,000 runs expand in 3 seconds. The largest published study of this kind trained 1,344 models.
GRID_RUNS = Limit("GRID_RUNS", 50_000, "runs", "each is checked and named before the first one begins")

# Cameras take 25 megapixels. A pixel takes 4 bytes in the file's form and 24 as numbers.
PICTURE_PIXELS = Limit("PICTURE_PIXELS", 25_000_000, "pixels", "each takes about 30 bytes of memory")
PICTURE_SIDE = Limit("PICTURE_SIDE", 4096, "pixels of a side", "a network's work grows with the square of it")

LIMITS = (
    *(TEXT_BYTES, JSON_BYTES, NESTING, NAME_LENGTH, TABLE_BYTES, TABLE_CELLS, COLUMNS, CLASSES, ARRAYS_BYTES),
    *(EXPANSION, TENSORS, HEADER_BYTES, PICKLE_BYTES, GRID_RUNS, PICTURE_PIXELS, PICTURE_SIDE),
)
