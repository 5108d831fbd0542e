"""Draws robust accuracy by venue."""

from collections.abc import Callable

import pandas as pd

from measurebench.reporting.charts.leaderboard.encoding import ACCURACY_COLUMNS, entries, percent_axis, robust_title
from measurebench.reporting.figures.figure import Column, Figure, specification
from measurebench.reporting.html.wording import count, percent

__all__ = ["ENOUGH", "figure", "highest"]

ENOUGH = 3  # entries of a venue below which its median is one paper's result


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
        f"{count(len(medians), 'venue')}; {highest(medians, several, 'the median entry is most robust', percent)}",
        f"{preprints} of {count(len(known), 'entry', 'entries')} name a preprint as their venue. "
        f"{several.index[0]} has most entries, {several.iloc[0]}.",
        specification(_chart(table, list(medians.index))),
        {"models": table},
        "models",
        (Column("venue_name", "venue"), *ACCURACY_COLUMNS),
        "Each mark is an entry; venues are ordered by their median.",
    )


def highest(medians: "pd.Series[float]", n: "pd.Series[int]", claim: str, form: Callable[[float], str]) -> str:
    """Return which venue has the highest median, with its number of entries.

    ``medians`` are sorted from high to low, and ``n`` counts entries by venue. Venues of fewer than three entries are
    passed over where there are others, and the sentence says so.
    """
    enough = medians[n.reindex(medians.index) >= ENOUGH]
    kept = medians if enough.empty else enough
    first = str(kept.index[0])
    told = f"{claim} at {first} ({form(kept.iloc[0])}, {count(int(n[first]), 'entry', 'entries')})"
    return told if len(kept) == len(medians) else f"among venues of {ENOUGH} entries or more {told}"


def _chart(table: pd.DataFrame, venues: list[str]) -> object:
    import altair as alt

    y = alt.Y(field="venue_name", type="nominal", sort=venues, title=None, axis=alt.Axis(labelLimit=130, grid=True))
    x = percent_axis("robust_accuracy", robust_title(table))
    chart = entries(table, x, y, ("venue_name", "robust_accuracy"), brushed=False)
    return chart.properties(width="container", height=22 * len(venues))
