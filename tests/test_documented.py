"""The documentation that the code owes its readers: public names, shapes, errors and examples that run."""

import ast
import doctest
import importlib

import pytest

from tests.documentation import SHAPE, defined, functions, modules, raised, takes_arrays

MODULES = modules()
BY_NAME = {module.name: module for module in MODULES}
FUNCTIONS = [function for module in MODULES for function in functions(module)]


def test_every_module_says_what_is_public() -> None:
    silent = [m.name for m in MODULES if {n for n in defined(m.tree) if not n.startswith("_")} and not m.public]
    assert not silent
    lacking = [(m.name, name) for m in MODULES for name in m.public - defined(m.tree) if not _imported(m, name)]
    assert not lacking


def _imported(module: object, name: str) -> bool:
    nodes = ast.walk(module.tree)  # type: ignore[attr-defined]
    names = {alias.asname or alias.name for n in nodes if isinstance(n, ast.ImportFrom) for alias in n.names}
    return name in names


def test_what_another_package_imports_is_public() -> None:
    hidden = []
    for module in MODULES:
        package = module.name.split(".")[1:2]
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ImportFrom) or node.module not in BY_NAME:
                continue
            source = BY_NAME[node.module]
            if source.name.split(".")[1:2] == package:
                continue
            hidden += [
                f"{module.name} imports {alias.name} from {source.name}"
                for alias in node.names
                if alias.name not in source.public and f"{source.name}.{alias.name}" not in BY_NAME
            ]
    assert not hidden


def test_every_function_that_raises_says_what() -> None:
    silent = [f"{f.where}: {name}" for f in FUNCTIONS for name in sorted(raised(f)) if name not in f.text]
    assert not silent


def test_every_function_on_arrays_states_a_shape() -> None:
    shapeless = [f.where for f in FUNCTIONS if takes_arrays(f) and not SHAPE.search(f.text)]
    assert not shapeless


WITH_EXAMPLES = [module.name for module in MODULES if ">>> " in module.path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_in_docstrings_run(name: str) -> None:
    """Import the module and run every example of its docstrings; floats are compared as they are printed."""
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
