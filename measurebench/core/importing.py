"""Imports code that is found at run time: a Python file, a module by name, all modules of a package.

The package itself imports this module first. It imports nothing that takes time, since Ctrl-C before the command line
has begun is answered by Python with a traceback.
"""

from __future__ import annotations

import importlib
import os
import sys

TYPE_CHECKING = False  # as in typing, which takes milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from importlib.machinery import ModuleSpec
    from pathlib import Path
    from types import ModuleType
    from typing import Any

__all__ = [
    "import_by_name",
    "import_file",
    "import_submodules",
    "module_file",
    "names_on_first_use",
    "search_working_folder",
]


def import_file(path: Path, name: str) -> ModuleType:
    """Import a Python file as a module of this name, or return it where it was imported before.

    The file's folder is added to the end of the search path, for what the file itself imports. Raises BadInputError
    for a file that is not Python code, and whatever the code raises.
    """
    from importlib.util import module_from_spec, spec_from_file_location

    from measurebench.core.errors import BadInputError

    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadInputError(str(path), "a Python file NAME.py", "a file that Python cannot import")
    module = module_from_spec(spec)
    sys.modules[name] = module
    _search(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def import_by_name(name: str, subject: str) -> ModuleType:
    """Import a module by its name; the current folder is searched too, as ``python -m`` does.

    Raises BadInputError, which names the ``subject``, where there is no such module or importing it fails.
    """
    from measurebench.core.errors import BadInputError

    search_working_folder()
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BadInputError(subject, f"a module that can be imported as {name!r}", str(error)) from error


def search_working_folder() -> None:
    """Let Python find modules in the current folder, after all others, as ``python -m`` does; a script does not.

    Only where the user names code: an optional dependency of some library must not be taken from a folder of data.
    """
    _search(os.getcwd())  # noqa: PTH109 - a console script searches the folder that it is installed in instead


def module_file(name: str) -> Path | None:
    """Return the file of a module by its name, or None, without importing it or the packages that it lies in.

    The current folder is searched too.

    >>> module_file("json.decoder").name
    'decoder.py'
    """
    import importlib.machinery
    from pathlib import Path

    place: list[str] | None = [*sys.path, str(Path.cwd())]
    found, parts = None, name.split(".")
    for number in range(1, len(parts) + 1):
        if place is None:
            return None
        found = importlib.machinery.PathFinder.find_spec(".".join(parts[:number]), place)
        found = found or _by_other_finders(".".join(parts[:number]), place)
        place = None if found is None else found.submodule_search_locations and [*found.submodule_search_locations]
    return Path(found.origin) if found is not None and found.has_location and found.origin else None


def _by_other_finders(name: str, place: list[str]) -> ModuleSpec | None:
    """Ask the finders that packages add, such as those of editable installs."""
    for finder in sys.meta_path:
        try:
            if found := finder.find_spec(name, place if "." in name else None):
                return found
        except (ImportError, AttributeError, ValueError):
            continue
    return None


def _search(folder: str) -> None:
    """Let Python find modules in a folder too, after all others."""
    if folder not in sys.path and not (folder == os.getcwd() and "" in sys.path):  # noqa: PTH109 - pathlib takes time
        sys.path.append(folder)


def import_submodules(package: str, paths: Iterable[str]) -> None:
    """Import every module of a package, ``__name__`` and ``__path__``, which registers what they define.

    Modules of packages inside it are imported as well.
    """
    import pkgutil

    for module in pkgutil.walk_packages(paths, f"{package}."):
        importlib.import_module(module.name)


def names_on_first_use(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for a package that imports each public name from its module when it is first used.

    ``homes`` gives the module of each name: its full name, or ``.module`` inside the package. Importing the package
    then stays fast, and needs torch only for what needs torch.

    >>> names_on_first_use("package", {"near_names": "measurebench.core.errors"})("near_names").__name__
    'near_names'
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name], package), name)

    return find
