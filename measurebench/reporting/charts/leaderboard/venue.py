"""Draws robust accuracy by venue."""

import pandas as pd

from measurebench.reporting.charts.leaderboard.encoding import ACCURACY_COLUMNS, entries, percent_axis, robust_title
from measurebench.reporting.figures.figure import Column, Figure, specification
from measurebench.reporting.html.wording import count, percent

__all__ = ["figure"]


def figure(table: pd.DataFrame) -> Figure | None:
    """Return the chart, the venue with the most robust median on top."""
    known = table.dropna(subset=["venue_name", "robust_accuracy"])
    if known.empty:
        return None
    medians = known.groupby("venue_name")["robust_accuracy"].median().sort_values(ascending=False, kind="stable")
    several = known["venue_name"].value_counts()
    preprints = int((known["published_in"] == "preprint").sum())
    return Figure(
        "venue",
        f"{count(len(medians), 'venue')}; the median entry is most robust at {medians.index[0]} "
        f"({percent(medians.iloc[0])}, {count(int(several[medians.index[0]]), 'entry', 'entries')})",
        f"{preprints} of {count(len(known), 'entry', 'entries')} name a preprint as their venue. "
        f"{several.index[0]} has most entries, {several.iloc[0]}.",
        specification(_chart(table, list(medians.index))),
        {"models": table},
        "models",
        (Column("venue_name", "venue"), *ACCURACY_COLUMNS),
        "Each mark is an entry; venues are ordered by their median.",
    )


def _chart(table: pd.DataFrame, venues: list[str]) -> object:
    import altair as alt

    y = alt.Y(field="venue_name", type="nominal", sort=venues, title=None, axis=alt.Axis(labelLimit=130, grid=True))
    x = percent_axis("robust_accuracy", robust_title(table))
    chart = entries(table, x, y, ("venue_name", "robust_accuracy"), brushed=False)
    return chart.properties(width="container", height=22 * len(venues))
