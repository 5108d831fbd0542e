"""Measure robust classifiers, and judge which measures predict their robust generalization.

The public names are imported on first use, so that importing the package takes no time.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from measurebench.core.plugins import load_plugin
    from measurebench.datasets import load_dataset
    from measurebench.engine.study import run
    from measurebench.measures.api import measure
    from measurebench.models.loading import load_model
    from measurebench.reporting import write_report
    from measurebench.stats import analyze
    from measurebench.store.folder import read_records

__all__ = ["analyze", "load_dataset", "load_model", "load_plugin", "measure", "read_records", "run", "write_report"]

_HOMES = {
    "analyze": "measurebench.stats",
    "load_dataset": "measurebench.datasets",
    "load_model": "measurebench.models.loading",
    "load_plugin": "measurebench.core.plugins",
    "measure": "measurebench.measures.api",
    "read_records": "measurebench.store.folder",
    "run": "measurebench.engine.study",
    "write_report": "measurebench.reporting",
}


def __getattr__(name: str) -> Any:
    """Import a public name from where it is defined, on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
