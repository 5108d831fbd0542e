"""Draws clean against robust accuracy, and how the frontier between them moved over the years."""

from typing import Any

import pandas as pd

from measurebench.reporting.charts.leaderboard.encoding import ACCURACY_COLUMNS, entries, percent_axis, robust_title
from measurebench.reporting.figures.figure import Figure, named, specification
from measurebench.reporting.html.wording import count, percent
from measurebench.reporting.subject.rank_intervals import frontier, frontiers_by_year

__all__ = ["FLOOR", "figure"]

FLOOR = 0.2  # a network that is hardly robust at all says nothing of the trade-off, and would stretch the axes


def figure(table: pd.DataFrame) -> Figure | None:
    """Return entries with the frontier after each third of the years and after the last."""
    known = table.dropna(subset=["clean_accuracy", "robust_accuracy"])
    below = int((known["robust_accuracy"] < FLOOR).sum())
    known = known[known["robust_accuracy"] >= FLOOR]
    if known.empty:
        return None
    best = frontier(known)
    until = frontiers_by_year(known)
    years = sorted(until["until"].unique())
    shown = sorted({years[-1], *years[:: max(1, len(years) // 3)]})
    lines = until[until["until"].isin(shown)].reset_index(drop=True)
    return Figure(
        "clean",
        f"{count(len(best), 'entry is', 'entries are')} on the frontier: none is beaten in clean and "
        "robust accuracy at once",
        f"The frontier runs from {percent(best['clean_accuracy'].iloc[0])} clean and "
        f"{percent(best['robust_accuracy'].iloc[0])} "
        f"robust to {percent(best['clean_accuracy'].iloc[-1])} clean and "
        f"{percent(best['robust_accuracy'].iloc[-1])} robust.",
        specification(_chart(table, shown)),
        {"models": table, "frontiers": lines[["until", "model_id", "clean_accuracy", "robust_accuracy"]]},
        "models",
        ACCURACY_COLUMNS,
        "A line joins the entries that were on the frontier by the end of the year written beside it."
        + (
            f" Not drawn: {count(below, 'entry', 'entries')} below {percent(FLOOR, 0)} robust accuracy."
            if below
            else ""
        ),
        brush=True,
    )


def _chart(table: pd.DataFrame, years: list[str]) -> object:
    import altair as alt

    number: Any = {"op": "row_number", "as": "_n"}
    drawn = table[table["robust_accuracy"] >= FLOOR]
    clean, robust = drawn["clean_accuracy"].dropna(), drawn["robust_accuracy"]
    room = 0.13 * float(clean.max() - clean.min())  # for the year beside the frontier's last entry
    x = percent_axis("clean_accuracy", "clean accuracy", "x", (float(clean.min()) - 0.01, float(clean.max()) + room))
    y = percent_axis(
        "robust_accuracy", robust_title(table), "y", (float(robust.min()) - 0.02, float(robust.max()) + 0.02)
    )
    base = alt.Chart(named("frontiers"))
    lines = base.mark_line(color="var(--ink)", strokeWidth=1.4, clip=True).encode(
        x=x,
        y=y,
        detail=alt.Detail(field="until", type="nominal"),
        opacity=alt.Opacity(
            field="until", type="ordinal", legend=None, scale=alt.Scale(domain=years, range=[0.25, 0.9])
        ),
    )
    first = base.transform_window(
        [alt.WindowFieldDef.from_dict(number)],
        groupby=["until"],
        sort=[alt.SortField("clean_accuracy", order="descending")],
    ).transform_filter("datum._n == 1")
    names = first.mark_text(align="left", dx=7, fontSize=10.5, color="var(--muted)", clip=True).encode(
        x=x, y=y, text=alt.Text(field="until", type="nominal")
    )
    points = entries(table, x, y, ("clean_accuracy", "robust_accuracy"))
    points = points.transform_filter(f"datum.robust_accuracy >= {FLOOR}")
    return (lines + points + names).properties(width="container", height=340)
