"""What is known of the measures, read without torch."""

import importlib
from collections.abc import Mapping

from measurebench.core.info import MeasureInfo


def measure_infos() -> Mapping[str, MeasureInfo]:
    """Return the info of every measure by id; {} where the package was built without the list."""
    try:
        module = importlib.import_module("measurebench.core.infos")
    except ModuleNotFoundError:
        return {}
    found: Mapping[str, MeasureInfo] = module.measure_infos()
    return found
