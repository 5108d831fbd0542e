"""Loads models: from a reference to a network that has passed its checks."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from measurebench.models.loaded import LoadedModel
    from measurebench.models.loading import load_model
    from measurebench.models.references import resolve
    from measurebench.models.verify import preflight, verify_clean_accuracy

__all__ = ["LoadedModel", "load_model", "preflight", "resolve", "verify_clean_accuracy"]

_HOMES = {
    "LoadedModel": "loaded",
    "load_model": "loading",
    "preflight": "verify",
    "resolve": "references",
    "verify_clean_accuracy": "verify",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use: references are resolved without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
