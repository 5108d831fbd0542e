"""Where a registered thing comes from: measurebench itself, another package, or a Python file of the user."""

import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, distribution, entry_points, packages_distributions
from pathlib import Path
from typing import Any

__all__ = ["BUILT_IN", "GROUPS", "Origin", "origin_of"]

# What other packages may add; the entry points of a kind are in the group ``measurebench.KIND``.
GROUPS = ("measures", "attacks", "datasets", "architectures", "objectives", "statistics")


@dataclass(frozen=True)
class Origin:
    """Package and version, or only the file, that define a registered thing.

    ``sha256`` is the digest of that file: a package that is being developed changes its code but not its version.
    It is empty for measurebench's own code and for code without a file, such as an interactive session.

    >>> str(Origin("measurebench-example", "1.2", sha256="ab" * 32))
    'measurebench-example 1.2'
    >>> str(Origin(file="mine.py", sha256="ab" * 32))
    'mine.py (SHA-256 abababababababab)'
    """

    package: str = ""
    version: str = ""
    file: str = ""
    sha256: str = ""

    @property
    def is_built_in(self) -> bool:
        """Tell whether it is part of measurebench."""
        return self.package == "measurebench"

    def __str__(self) -> str:
        if self.package:
            return f"{self.package} {self.version}".rstrip()
        return f"{Path(self.file).name} (SHA-256 {self.sha256[:16]})" if self.sha256 else self.file


BUILT_IN = Origin("measurebench")


def origin_of(thing: Any) -> Origin:
    """Return the origin of a class, a function or an instance, by the module that defines it.

    >>> origin_of(Origin).is_built_in
    True
    >>> origin_of(cache).package
    ''
    """
    while isinstance(thing, functools.partial):
        thing = thing.func
    name = getattr(thing, "__module__", None) or type(thing).__module__
    return BUILT_IN if name.partition(".")[0] == "measurebench" else _of_module(name)


def _of_module(name: str) -> Origin:
    from measurebench.core.digests import digest_file  # imports numpy, which --help does without

    file = getattr(sys.modules.get(name), "__file__", None)
    path = Path(file) if file and Path(file).is_file() else None
    sha256 = digest_file(path) if path else ""
    if package := _package(name.partition(".")[0], path):
        return Origin(package.name, package.version, str(path or ""), sha256)
    return Origin(file=str(path or name), sha256=sha256)


def _package(name: str, path: Path | None) -> Distribution | None:
    """Return the installed package that a module of this name at the top level belongs to."""
    if declaring := _declaring().get(name):
        return declaring
    # The name alone proves nothing: some packages install a module ``tests``, which is also what projects call theirs.
    candidates = (distribution(package) for package in _packages().get(name, ()))
    return next((item for item in candidates if path and path.is_relative_to(Path(str(item.locate_file(""))))), None)


@cache
def _declaring() -> Mapping[str, Distribution]:
    """Return the package of each module that entry points name; editable installs list no modules of theirs."""
    points = [point for kind in GROUPS for point in entry_points(group=f"measurebench.{kind}")]
    return {point.module.partition(".")[0]: point.dist for point in points if point.dist is not None}


@cache
def _packages() -> Mapping[str, Sequence[str]]:
    return packages_distributions()
