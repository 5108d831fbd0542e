"""Draws one row per paper, with the range of its entries."""

from typing import Any

import pandas as pd

from measurebench.reporting.charts.leaderboard.encoding import robust_title
from measurebench.reporting.figures.figure import Column, Figure, named, specification
from measurebench.reporting.html.wording import count
from measurebench.reporting.subject.rank_intervals import papers

__all__ = ["SHOWN", "figure"]

SHOWN = 30
_COLUMNS = (
    Column("paper", "paper"),
    Column("venue", "venue"),
    Column("n_entries", "entries", "integer"),
    Column("model_id", "best entry"),
    Column("robust_accuracy", "best", "percent2"),
    Column("weakest", "weakest", "percent2"),
)


def figure(table: pd.DataFrame) -> Figure:
    """Return the range of robust accuracy over each paper's entries, for the thirty best papers."""
    rows = papers(table.dropna(subset=["robust_accuracy"]))
    several = int((rows["n_entries"] > 1).sum())
    rows = rows[["paper", "venue", "n_entries", "model_id", "robust_accuracy", "weakest"]].assign(
        order=range(len(rows))
    )
    return Figure(
        "papers",
        f"{count(len(table), 'entry comes', 'entries come')} from {count(len(rows), 'paper')}; {several} "
        f"{'has' if several == 1 else 'have'} more than one",
        f"Shown are the {min(SHOWN, len(rows))} papers with the most robust entries; the table has all.",
        specification(_chart(min(SHOWN, len(rows)), robust_title(table))),
        {"papers": rows},
        "papers",
        _COLUMNS,
        "The mark is the paper's best entry, the line reaches down to its weakest.",
    )


def _chart(n_rows: int, title: str) -> Any:
    import altair as alt

    y = alt.Y(
        field="paper",
        type="nominal",
        title=None,
        sort=alt.EncodingSortField(field="order", op="min"),
        axis=alt.Axis(labelLimit=260, grid=True),
    )
    base = alt.Chart(named("papers")).transform_filter(f"datum.order < {SHOWN}")
    scale = alt.Scale(zero=False)
    line = base.mark_rule(strokeWidth=2, color="var(--s1)", opacity=0.5).encode(
        y=y, x=alt.X(field="weakest", type="quantitative", scale=scale), x2=alt.X2(field="robust_accuracy")
    )
    tips = [
        alt.Tooltip(field="paper", type="nominal"),
        alt.Tooltip(field="n_entries", type="quantitative", title="entries"),
    ]
    best = base.mark_point(filled=True, size=56, opacity=1, color="var(--s1)").encode(
        y=y,
        tooltip=tips,
        x=alt.X(
            field="robust_accuracy",
            type="quantitative",
            scale=scale,
            title=title,
            axis=alt.Axis(format=".0%", tickCount=6),
        ),
    )
    return (line + best).properties(width="container", height=20 * n_rows)
