"""Checks of a model before it is measured: does it load, is it sound, is its accuracy right, are gradients masked."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from measurebench.checks.model import check_model, check_models
    from measurebench.checks.results import CheckLine, ModelCheck

__all__ = ["CheckLine", "ModelCheck", "check_model", "check_models"]

_HOMES = {"CheckLine": "results", "ModelCheck": "results", "check_model": "model", "check_models": "model"}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use: results are read without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
