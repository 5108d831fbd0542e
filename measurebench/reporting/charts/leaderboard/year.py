"""Draws robust accuracy by year, with the best so far."""

import pandas as pd

from measurebench.reporting.charts.leaderboard.encoding import ACCURACY_COLUMNS, entries, percent_axis, robust_title
from measurebench.reporting.figures.figure import Column, Figure, named, specification
from measurebench.reporting.html.wording import percent, points

__all__ = ["figure"]


def figure(table: pd.DataFrame) -> Figure | None:
    """Return the chart, or None where no year is known."""
    known = table.dropna(subset=["year", "robust_accuracy"])
    if known.empty:
        return None
    best = known.groupby("year")["robust_accuracy"].max().cummax()
    records = pd.DataFrame({"year": [int(y) for y in best.index], "best": best.to_numpy()})
    first, last = records.iloc[0], records.iloc[-1]
    span = max(1, int(last["year"] - first["year"]))
    return Figure(
        "year",
        f"The best robust accuracy rose from {percent(first['best'])} in {int(first['year'])} to "
        f"{percent(last['best'])} in {int(last['year'])}",
        f"That is {points((last['best'] - first['best']) / span)} points a year.",
        specification(_chart(table)),
        {"models": table, "records": records},
        "models",
        (Column("year", "year", "text"), *ACCURACY_COLUMNS),
        "The line is the best entry so far.",
        brush=True,
    )


def _chart(table: pd.DataFrame) -> object:
    import altair as alt

    x = alt.X(
        field="year",
        type="quantitative",
        title="year",
        scale=alt.Scale(zero=False, padding=14),
        axis=alt.Axis(format="d", tickMinStep=1),
    )
    line = (
        alt.Chart(named("records"))
        .mark_line(interpolate="step-after", color="var(--muted)")
        .encode(x=x, y=percent_axis("best", robust_title(table), "y"))
    )
    marks = entries(table, x, percent_axis("robust_accuracy", robust_title(table), "y"), ("year", "robust_accuracy"))
    return (line + marks).properties(width="container", height=300)
