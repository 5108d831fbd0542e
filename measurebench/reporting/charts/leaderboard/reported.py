"""Draws reported against AutoAttack accuracy: which papers claimed more than AutoAttack finds."""

import pandas as pd

from measurebench.reporting.charts.leaderboard.encoding import ACCURACY_COLUMNS, diagonal, entries, percent_axis
from measurebench.reporting.figures.figure import Column, Figure, specification
from measurebench.reporting.html.wording import count, percent, points

__all__ = ["figure"]


def figure(table: pd.DataFrame) -> Figure | None:
    """Return the chart, or None where no reported accuracy is known."""
    known = table.dropna(subset=["reported_accuracy", "autoattack_accuracy"])
    if known.empty:
        return None
    over = (known["reported_accuracy"] - known["autoattack_accuracy"]).round(8)  # 5.00 points are not over 5 points
    far, under = int((over > 0.05).sum()), int((over < 0).sum())
    worst = known.iloc[int(over.to_numpy().argmax())]
    return Figure(
        "reported",
        f"{far} of {count(len(known), 'entry', 'entries')} reported over 5 points more than AutoAttack finds",
        f"The largest difference is {points(over.max())} points ({worst['model_id']}); {under} reported less "
        "than AutoAttack "
        f"finds. The median is {points(over.median(), 2)} points.",
        specification(_chart(table, known)),
        {"models": table},
        "models",
        (*ACCURACY_COLUMNS, Column("reported_accuracy", "reported", "percent2")),
        "Below the dashed line AutoAttack finds less than was reported. Reported values lie up to "
        f"{percent(known['reported_accuracy'].max())}.",
        brush=True,
    )


def _chart(table: pd.DataFrame, known: pd.DataFrame) -> object:
    x = percent_axis("reported_accuracy", "robust accuracy as reported")
    y = percent_axis("autoattack_accuracy", "AutoAttack accuracy", "y")
    both = known[["reported_accuracy", "autoattack_accuracy"]]
    line = diagonal(float(both.min().min()), float(both.max().max()))
    marks = entries(table, x, y, ("reported_accuracy", "autoattack_accuracy"))
    return (line + marks).properties(width="container", height=320)
