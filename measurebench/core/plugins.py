"""Third-party code: found through entry points of installed packages, or run from a file that the user names.

A package declares in its ``pyproject.toml`` what it adds, for each kind the modules that register it::

    [project.entry-points."measurebench.measures"]
    largest_logit = "measurebench_example.measure"

Importing such a module registers its measures with the same decorators that measurebench uses itself. An entry point
may also name an object (``module:object``), which is then registered here. Packages are imported when a list of their
kind is first needed. One that fails is reported in a warning, and everything else goes on without it.
"""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from measurebench.core.digests import digest_file
from measurebench.core.errors import BadInputError, MeasurebenchError
from measurebench.core.importing import import_file
from measurebench.core.origins import Origin
from measurebench.core.registry import Registry

__all__ = [
    "BrokenPlugin",
    "PluginWarning",
    "broken_plugins",
    "has_plugins",
    "load_entry_points",
    "load_plugin",
    "load_plugins",
    "plugin_files",
]

_loaded: set[str] = set()
_broken: list["BrokenPlugin"] = []
_files: dict[Path, Origin] = {}


class PluginWarning(UserWarning):
    """An installed package declares an entry point that cannot be loaded."""


@dataclass(frozen=True)
class BrokenPlugin:
    """An entry point that failed, and why."""

    kind: str
    package: str
    entry_point: str
    reason: str

    def __str__(self) -> str:
        return (
            f"package {self.package}: the entry point {self.entry_point!r} in measurebench.{self.kind} failed, and its "
            f"{self.kind} are not available: {self.reason}"
        )


def load_entry_points(kind: str, registry: Registry[Any], name_of: Callable[[Any], str]) -> None:
    """Import what installed packages declare for a kind, once per process.

    ``name_of`` tells under which name an object is registered that an entry point names. A package that fails, or
    that takes a name that exists, is noted in ``broken_plugins`` and reported with a PluginWarning.
    """
    if kind in _loaded:
        return
    _loaded.add(kind)
    failures = []
    for point in entry_points(group=f"measurebench.{kind}"):
        try:
            _register(point.load(), registry, name_of)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - another package's import may raise anything
            failures.append(BrokenPlugin(kind, _package(point), f"{point.name} = {point.value}", _reason(error)))
    _broken.extend(failures)
    for failure in failures:  # after all are loaded, since a filter may turn a warning into an error
        warnings.warn(str(failure), PluginWarning, stacklevel=3)


def broken_plugins() -> tuple[BrokenPlugin, ...]:
    """Return the entry points that failed so far."""
    return tuple(_broken)


def has_plugins(kind: str) -> bool:
    """Tell whether something of a kind may come from outside, without importing it."""
    return bool(_files) or _is_declared(kind)


@cache
def _is_declared(kind: str) -> bool:
    return bool(entry_points(group=f"measurebench.{kind}"))


def load_plugin(path: str | Path) -> Origin:
    """Run a Python file that registers measures, attacks or other things, and return its origin.

    A file is run once per process, and worker processes run it as well. Raises BadInputError where there is no such
    file, where running it fails, and where it registers a name that exists.
    """
    file = Path(path).expanduser().resolve()
    if file in _files:
        return _files[file]
    if not file.is_file() or file.suffix != ".py":
        got = "a folder" if file.is_dir() else "another file" if file.is_file() else "no such file"
        raise BadInputError(f"--plugin {path}", "a Python file NAME.py", got)
    origin = Origin(file=str(file), sha256=digest_file(file))
    try:
        import_file(file, f"measurebench_plugin_{origin.sha256[:16]}")
    except MeasurebenchError:
        raise
    except (Exception, SystemExit) as error:
        raise BadInputError(f"--plugin {path}", "a Python file that runs", _reason(error)) from error
    _files[file] = origin
    return origin


def load_plugins(paths: Iterable[str | Path]) -> None:
    """Run several Python files, in order; see ``load_plugin``."""
    for path in paths:
        load_plugin(path)


def plugin_files() -> tuple[Path, ...]:
    """Return the files that ``load_plugin`` ran, in order: what a worker process has to run as well."""
    return tuple(_files)


def _register(found: Any, registry: Registry[Any], name_of: Callable[[Any], str]) -> None:
    """Register an object that an entry point names, unless importing its module has registered it."""
    if isinstance(found, ModuleType) or registry.defines(found):
        return
    item = found() if isinstance(found, type) else found
    try:
        name = name_of(item)
    except AttributeError as error:
        raise TypeError(f"expected a module, or an object that is a {registry.kind}: {error}") from error
    registry.add(name, item)


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "of unknown name"


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, MeasurebenchError) else f"{type(error).__name__}: {text}"
