"""Collects what a page's scripts need: the specifications of its charts, and the data that they share."""

from collections.abc import Mapping, Sequence
from typing import Any

from measurebench.reporting.figures.figure import Figure
from measurebench.reporting.html.embedding import columns as embedded

__all__ = ["datasets", "figure_data"]


def figure_data(figures: Sequence[Figure], dynamic: Sequence[str] = ()) -> dict[str, Any]:
    """Return the figures as the page's scripts read them, by id; those in ``dynamic`` change with the measure."""
    return {
        figure.id: {
            "spec": figure.spec,
            "dataset": figure.dataset,
            "columns": [{"key": c.key, "label": c.label, "format": c.format} for c in figure.columns],
            "brush": figure.brush,
            "picks": figure.picks,
            "rows": figure.rows,
            "limit": figure.limit,
            "dynamic": figure.id in dynamic,
        }
        for figure in figures
    }


def datasets(figures: Sequence[Figure], besides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of all charts by name, each once; ``besides`` is already encoded and takes precedence."""
    found: dict[str, Any] = dict(besides)
    for figure in figures:
        for name, table in figure.data.items():
            if name not in found:
                found[name] = embedded(table, digits=6)
    return found
