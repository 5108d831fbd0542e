"""The page of the Python interface: every public name of the package, found where it is defined, without an import."""

import ast
from pathlib import Path

__all__ = ["python_page"]

ROOT = Path(__file__).resolve().parents[2]
_HEAD = """# Python

```python
import measurebench
```

The names of the first section are imported from `measurebench` itself, on first use. Importing the package is fast.

"""
# What code that extends measurebench uses, by module; a module that is missing is left out.
_MORE = {
    "Measures": (
        ("measurebench.core.info", "MeasureInfo"),
        ("measurebench.measures.registry", "register"),
        ("measurebench.measures.context", "MeasureContext"),
        ("measurebench.measures.value", "MeasureValue"),
        ("measurebench.measures.value", "UndefinedMeasureError"),
        ("measurebench.testing", "check_measure"),
    ),
    "Attacks": (
        ("measurebench.core.threat", "ThreatModel"),
        ("measurebench.attacks.registry", "find_attack"),
        ("measurebench.attacks.registry", "register_attack"),
        ("measurebench.attacks.protocol", "AttackInfo"),
        ("measurebench.attacks.protocol", "AttackContext"),
        ("measurebench.attacks.protocol", "AttackResult"),
        ("measurebench.testing", "check_attack"),
    ),
    "Statistics": (
        ("measurebench.stats.analysis", "Analysis"),
        ("measurebench.stats", "write_analysis"),
        ("measurebench.stats", "read_analysis"),
        ("measurebench.stats", "statistic"),
        ("measurebench.stats", "Sample"),
        ("measurebench.stats", "Estimate"),
        ("measurebench.stats", "Asked"),
        ("measurebench.testing", "check_statistic"),
    ),
    "Models, images and records": (
        ("measurebench.models.loaded", "LoadedModel"),
        ("measurebench.core.records", "Record"),
        ("measurebench.core.errors", "MeasurebenchError"),
        ("measurebench.core.errors", "BadInputError"),
    ),
}


def python_page() -> str:
    """Return the page as Markdown for mkdocstrings."""
    parts = [_HEAD, "## The package\n"]
    parts += [_entry(defined_in(module, name), name) for name, module in sorted(_homes().items())]
    for title, entries in _MORE.items():
        found = [(defined_in(module, name), name) for module, name in entries if _path(module)]
        parts += [f"## {title}\n", *(_entry(module, name) for module, name in found if module)]
    return "\n".join(parts)


def _entry(module: str, name: str) -> str:
    if not module:
        raise LookupError(f"{name} is public and not defined anywhere")
    return f"::: {module}.{name}\n"


def defined_in(module: str, name: str) -> str:
    """Return the module that defines a name which ``module`` offers; empty if it does not offer it."""
    path = _path(module)
    if path is None:
        return ""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if any(isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name for node in tree.body):
        return module
    for node in ast.walk(tree):  # also below `if TYPE_CHECKING:`, where packages that import late say what they offer
        if isinstance(node, ast.ImportFrom) and node.module and any((a.asname or a.name) == name for a in node.names):
            return defined_in(node.module, name)
    return ""


def _homes() -> dict[str, str]:
    """Return the module from which the package imports each of its public names."""
    for node in ast.parse((ROOT / "measurebench" / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_HOMES":
            return dict(ast.literal_eval(node.value))
    raise LookupError("measurebench/__init__.py has no _HOMES")


def _path(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)
