"""The command line parses, calls and prints: all else has a name below it. Read from its source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import measurebench
from measurebench.cli.app import COMMANDS

CLI = Path(measurebench.__file__).parent / "cli"
MODULES = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(CLI.glob("*.py"))}
# Of other packages: typer to parse, rich for tables and bars. The rest computes, and belongs below.
ALLOWED = {"typer", "rich"}
# At the top of a module, that is before --help has answered, also these parts of the project, which are light.
LIGHT = {
    "measurebench.cli",
    "measurebench.core.errors",
    "measurebench.core.foreign",
    "measurebench.core.info",
    "measurebench.core.option_fields",
    "measurebench.core.origins",
    "measurebench.core.records",
    "measurebench.core.shards",
    "measurebench.engine.options",
}


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the modules that a tree imports, anywhere but under TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        yield from imported(node)


def at_the_top(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imported(ast.Module([node], []))


@pytest.mark.parametrize("name", MODULES)
def test_a_command_imports_nothing_that_computes(name: str) -> None:
    import sys

    others = {module.partition(".")[0] for module in imported(MODULES[name])} - ALLOWED - {"measurebench"}
    assert others <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("name", MODULES)
def test_before_help_only_light_modules_are_imported(name: str) -> None:
    ours = {module for module in at_the_top(MODULES[name]) if module.startswith("measurebench")}
    heavy = {module for module in ours if not any(module == light or module.startswith(f"{light}.") for light in LIGHT)}
    assert not heavy


@pytest.mark.parametrize("name", MODULES)
def test_no_tensor_or_array_is_touched(name: str) -> None:
    """No arithmetic on arrays: no operator but on text, numbers of things and paths, and no call that makes one."""
    calls = {
        node.func.attr
        for node in ast.walk(MODULES[name])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not calls & {
        "numpy",
        "item",
        "mean",
        "sum",
        "softmax",
        "argmax",
        "from_numpy",
        "no_grad",
        "concat",
        "cat",
        "to_csv",
    }


def test_modules_and_functions_stay_small() -> None:
    for name, tree in MODULES.items():
        assert max((getattr(node, "end_lineno", 0) for node in tree.body), default=0) < 260, name
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.body:
                first = node.body[1] if len(node.body) > 1 and ast.get_docstring(node) else node.body[0]
                assert (node.end_lineno or 0) - first.lineno < 35, f"{name}.{node.name}"


def test_each_command_has_its_module_and_function() -> None:
    for name in COMMANDS:
        assert any(isinstance(node, ast.FunctionDef) and node.name == name for node in MODULES[name].body)
