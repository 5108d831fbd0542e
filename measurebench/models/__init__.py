"""Loads models: from a reference to a network that has passed its checks."""

from typing import TYPE_CHECKING

from measurebench.core.importing import names_on_first_use

if TYPE_CHECKING:
    from measurebench.models.loaded import LoadedModel
    from measurebench.models.loading import load_model
    from measurebench.models.references import resolve
    from measurebench.models.verify import preflight, verify_clean_accuracy

__all__ = ["LoadedModel", "load_model", "preflight", "resolve", "verify_clean_accuracy"]

_HOMES = {
    "LoadedModel": ".loaded",
    "load_model": ".loading",
    "preflight": ".verify",
    "resolve": ".references",
    "verify_clean_accuracy": ".verify",
}

__getattr__ = names_on_first_use(__name__, _HOMES)
