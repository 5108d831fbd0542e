"""Read the package's source, without importing it, for the tests of its documentation."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "measurebench"

# Names in an annotation that stand for an array of some shape.
ARRAYS = {"Tensor", "ndarray", "NDArray", "Floats", "Bools", "Integers"}
# A shape in brackets, such as [n], [n, K] or [n, C, H, W]; or the word that says that there is none.
SHAPE = re.compile(r"\[[a-zA-Z0-9_*.+() -]+(, ?[a-zA-Z0-9_*.+() -]+)*(, ?\.\.\.)?\]|\bscalar\b|\bany shape\b|same shape")


@dataclass(frozen=True)
class Module:
    """One module: its dotted name, its tree, and what it says is public."""

    name: str
    path: Path
    tree: ast.Module
    public: frozenset[str]


@dataclass(frozen=True)
class Function:
    """A public function or method, with the docstring of its class where it has one."""

    where: str
    node: ast.FunctionDef
    owner: ast.ClassDef | None

    @property
    def text(self) -> str:
        own = ast.get_docstring(self.node) or ""
        return own + "\n" + ((ast.get_docstring(self.owner) or "") if self.owner else "")


def modules() -> list[Module]:
    """Return every module of the package, in order of its path."""
    return [_module(path) for path in sorted(PACKAGE.rglob("*.py"))]


def _module(path: Path) -> Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name, path, tree, frozenset(_all(tree) or ()))


def _all(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "__all__":
            return list(ast.literal_eval(node.value))
    return None


def defined(tree: ast.Module) -> set[str]:
    """Return the names that a module defines at its top level."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def functions(module: Module) -> Iterator[Function]:
    """Yield the public functions of a module and the public methods of its public classes."""
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in module.public:
            yield Function(f"{module.name}.{node.name}", node, None)
        elif isinstance(node, ast.ClassDef) and node.name in module.public:
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and (not item.name.startswith("_") or item.name == "__call__"):
                    yield Function(f"{module.name}.{node.name}.{item.name}", item, node)


def raised(function: Function) -> set[str]:
    """Return the names of the exceptions that a function's own body raises, without those of nested functions."""
    found: set[str] = set()
    stack: list[ast.AST] = list(function.node.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(node, ast.Raise) and node.exc is not None:
            call = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = call.attr if isinstance(call, ast.Attribute) else call.id if isinstance(call, ast.Name) else ""
            if name[:1].isupper():
                found.add(name)
        stack += list(ast.iter_child_nodes(node))
    return found


def takes_arrays(function: Function) -> bool:
    """Tell whether an argument or the result is annotated as an array."""
    arguments = [*function.node.args.args, *function.node.args.kwonlyargs]
    annotations = [a.annotation for a in arguments] + [function.node.returns]
    names = {n.id for a in annotations if a for n in ast.walk(a) if isinstance(n, ast.Name)}
    names |= {n.attr for a in annotations if a for n in ast.walk(a) if isinstance(n, ast.Attribute)}
    return bool(names & ARRAYS)
