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
    from pathlib import Path
    from types import ModuleType
    from typing import Any

__all__ = ["import_by_name", "import_file", "import_submodules", "names_on_first_use"]


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

    _search(os.getcwd())  # noqa: PTH109 - a console script searches the folder that it is installed in instead
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BadInputError(subject, f"a module that can be imported as {name!r}", str(error)) from error


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
