"""Draws the ranking with intervals, which show the neighbours that truly differ."""

import math
from typing import Any

import pandas as pd

from measurebench.reporting.charts.leaderboard.encoding import kinds, percent_axis, robust_title
from measurebench.reporting.figures.figure import (
    Column,
    Figure,
    defense_channels,
    dimmed,
    named,
    specification,
    tooltips,
)
from measurebench.reporting.html.wording import percent
from measurebench.reporting.subject.rank_intervals import TEST_IMAGES

__all__ = ["figure"]

# The axis leaves out the weakest tenth where the others then fill at most this part of it.
_ZOOM = 0.75
_MANY = 30  # so few entries have room enough
_COLUMNS = (
    Column("rank", "rank", "integer"),
    Column("model_id", "model"),
    Column("robust_accuracy", "robust", "percent2"),
    Column("low", "low", "percent2"),
    Column("high", "high", "percent2"),
    Column("rank_best", "best possible rank", "integer"),
    Column("rank_worst", "worst possible rank", "integer"),
)


def figure(table: pd.DataFrame, images: int = TEST_IMAGES) -> Figure:
    """Return robust accuracy with its interval by rank, for a number of test images."""
    known = table.dropna(subset=["robust_accuracy"])
    width = (known["rank_worst"] - known["rank_best"] + 1).median()
    first = known.iloc[0]
    shared = int(first["rank_worst"])
    title = (
        f"{first['model_id']} leads with {percent(first['robust_accuracy'], 2)}, by more than chance"
        if shared == 1
        else f"{shared} entries could hold the first place; the best of them reaches "
        f"{percent(first['robust_accuracy'], 2)}"
    )
    return Figure(
        "ranking",
        title,
        f"With {images:,} test images "
        + (f"the typical entry could hold any of {int(width)} ranks." if width > 1 else "most ranks are certain."),
        specification(_chart(table)),
        {"models": table},
        "models",
        _COLUMNS,
        "Lines are Wilson's 95 % intervals. Two entries count as different where Newcombe's interval of their "
        "difference excludes zero. This is conservative, because all entries were evaluated on the same images."
        + _below(known, _domain(known)[0]),
    )


def _domain(known: pd.DataFrame) -> tuple[float, float]:
    """Return the range of the axis: without the weakest tenth, where that lets intervals of a percent be seen."""
    lowest, tenth, highest = known["low"].min(), known["low"].quantile(0.1), known["high"].max()
    apart = len(known) >= _MANY and (highest - tenth) < _ZOOM * (highest - lowest)
    start = math.floor(20 * tenth) / 20 if apart else lowest - 0.01
    return max(float(start), 0.0), min(float(highest) + 0.01, 1.0)


def _below(known: pd.DataFrame, start: float) -> str:
    """Return a sentence on the entries that the axis leaves out, or nothing."""
    n = int((known["robust_accuracy"] < start).sum())
    entries = "1 entry below" if n == 1 else f"{n} entries below"
    return f" The axis begins at {start:.0%}, so that intervals can be seen; the table has {entries} it." if n else ""


def _chart(table: pd.DataFrame) -> Any:
    import altair as alt

    domain = _domain(table.dropna(subset=["robust_accuracy"]))
    inside = alt.FieldGTEPredicate(field="robust_accuracy", gte=domain[0])
    base = alt.Chart(named("models")).transform_filter(inside)
    x = alt.X(field="rank", type="quantitative", title="rank", scale=alt.Scale(nice=False), axis=alt.Axis(tickCount=8))
    channels = defense_channels(kinds(table))
    spans = base.mark_rule(strokeWidth=1.4, clip=True).encode(
        x=x,
        y=alt.Y(field="low", type="quantitative", scale=alt.Scale(domain=list(domain))),
        y2=alt.Y2(field="high"),
        color=channels["color"],
    )
    tips = tooltips(_COLUMNS)
    marks = base.mark_point(filled=True, size=34).encode(
        x=x,
        y=percent_axis("robust_accuracy", robust_title(table), "y", domain),
        opacity=dimmed(),
        tooltip=tips,
        **channels,
    )
    return (spans + marks).properties(width="container", height=400)
