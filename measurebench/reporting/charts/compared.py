"""Draws tau of each measure in two studies, side by side."""

import pandas as pd

from measurebench.reporting.charts.paired import paired_chart
from measurebench.reporting.figures.figure import Column, Figure, specification
from measurebench.reporting.html.wording import count, fixed

__all__ = ["figure"]

_COLUMNS = (
    Column("title", "measure"),
    Column("change", "change"),
    Column("tau_a", "τ, first", "tau"),
    Column("low_a", "low", "tau"),
    Column("high_a", "high", "tau"),
    Column("tau_b", "τ, second", "tau"),
    Column("low_b", "low", "tau"),
    Column("high_b", "high", "tau"),
)
_SERIES = (("tau_a", "low_a", "high_a"), ("tau_b", "low_b", "high_b"))


def figure(table: pd.DataFrame, first: str, second: str) -> Figure:
    """Return both estimates with their intervals, measures whose conclusion changed on top."""
    both = table.dropna(subset=["tau_a", "tau_b"])
    order = both["tau_a"].corr(both["tau_b"], method="kendall") if len(both) > 2 else float("nan")
    same = int(((both["tau_a"] > 0) == (both["tau_b"] > 0)).sum())
    return Figure(
        "compared",
        f"{same} of {count(len(both), 'measure')} {'has' if same == 1 else 'have'} the same sign in both studies",
        f"The two rankings of the measures agree with Kendall's τ = {fixed(order)}.",
        specification(paired_chart("models", _SERIES, "τ with the target, over all models", _COLUMNS, len(table))),
        {"models": table},
        "models",
        _COLUMNS,
        f"Circle: {first}; diamond: {second}; lines are 95 % intervals.",
    )
