"""Checks of a model before it is measured: does it load, is it sound, is its accuracy right, are gradients masked."""

from typing import TYPE_CHECKING

from measurebench.core.importing import names_on_first_use

if TYPE_CHECKING:
    from measurebench.checks.model import check_model, check_models
    from measurebench.checks.results import CheckLine, ModelCheck

__all__ = ["CheckLine", "ModelCheck", "check_model", "check_models"]

_HOMES = {"CheckLine": ".results", "ModelCheck": ".results", "check_model": ".model", "check_models": ".model"}

__getattr__ = names_on_first_use(__name__, _HOMES)
