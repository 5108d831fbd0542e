"""Where a registered thing comes from: measurebench itself, another package, or a Python file of the user."""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, packages_distributions, version
from pathlib import Path
from typing import Any

from measurebench.core.digests import digest_file

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
    file = getattr(sys.modules.get(name), "__file__", None)
    path = Path(file) if file and Path(file).is_file() else None
    sha256 = digest_file(path) if path else ""
    package = _packages().get(name.partition(".")[0], "")
    if package:
        return Origin(package, _version(package), str(path or ""), sha256)
    return Origin(file=str(path or name), sha256=sha256)


@cache
def _packages() -> Mapping[str, str]:
    """Return the package of each importable name at the top level."""
    found = {name: packages[0] for name, packages in packages_distributions().items()}
    # An editable install lists no modules, but its entry points name them.
    for kind in GROUPS:
        for point in entry_points(group=f"measurebench.{kind}"):
            if point.dist is not None:
                found[point.module.partition(".")[0]] = point.dist.name
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown version"
