"""Draws robust accuracy against the number of parameters."""

import pandas as pd

from measurebench.reporting.charts.leaderboard.encoding import ACCURACY_COLUMNS, entries, percent_axis, robust_title
from measurebench.reporting.figures.figure import Column, Figure, specification
from measurebench.reporting.html.wording import count, fixed, percent

__all__ = ["figure"]


def figure(table: pd.DataFrame) -> Figure | None:
    """Return the chart, or None where fewer than three parameter counts are known."""
    known = table.dropna(subset=["n_parameters", "robust_accuracy"])
    if len(known) < 3:
        return None
    tau = known["n_parameters"].corr(known["robust_accuracy"], method="kendall")
    small = known[known["n_parameters"] < 2e7]
    best = small.iloc[int(small["robust_accuracy"].to_numpy().argmax())] if len(small) else None
    return Figure(
        "parameters",
        f"Larger networks are {'more' if tau > 0 else 'not more'} robust: Kendall's τ of parameters and robust "
        f"accuracy is {fixed(tau)}",
        f"Known for {count(len(known), 'entry', 'entries')}."
        + (
            f" The best below 20 million parameters reaches {percent(best['robust_accuracy'])} ({best['model_id']})."
            if best is not None
            else ""
        ),
        specification(_chart(table)),
        {"models": table},
        "models",
        (*ACCURACY_COLUMNS, Column("architecture", "architecture"), Column("n_parameters", "parameters", "integer")),
        "The axis of parameters is logarithmic. Counted in the networks themselves, so known only for entries "
        "with weights.",
        brush=True,
    )


def _chart(table: pd.DataFrame) -> object:
    import altair as alt

    x = alt.X(
        field="n_parameters",
        type="quantitative",
        title="parameters",
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=alt.Axis(format="~s", tickCount=5),
    )
    y = percent_axis("robust_accuracy", robust_title(table), "y")
    return entries(table, x, y, ("n_parameters", "robust_accuracy")).properties(width="container", height=320)
