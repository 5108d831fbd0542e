"""The measures' descriptions, for commands that run without torch."""

from measurebench.core.infos import measure_infos

__all__ = ["measure_infos"]
