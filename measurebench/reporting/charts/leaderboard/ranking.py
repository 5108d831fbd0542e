"""Draws the ranking with intervals, which show the neighbours that truly differ."""

from typing import Any

import pandas as pd

from measurebench.reporting.charts.leaderboard.encoding import kinds, percent_axis
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

__all__ = ["figure"]

_COLUMNS = (
    Column("rank", "rank", "integer"),
    Column("model_id", "model"),
    Column("autoattack_accuracy", "AutoAttack", "percent2"),
    Column("low", "low", "percent2"),
    Column("high", "high", "percent2"),
    Column("rank_best", "best possible rank", "integer"),
    Column("rank_worst", "worst possible rank", "integer"),
)


def figure(table: pd.DataFrame) -> Figure:
    """Return robust accuracy with its interval by rank."""
    known = table.dropna(subset=["autoattack_accuracy"])
    width = (known["rank_worst"] - known["rank_best"] + 1).median()
    first = known.iloc[0]
    shared = int(first["rank_worst"])
    title = (
        f"{first['model_id']} leads with {percent(first['autoattack_accuracy'], 2)}, by more than chance"
        if shared == 1
        else f"{shared} entries could hold the first place; the best of them reaches "
        f"{percent(first['autoattack_accuracy'], 2)}"
    )
    return Figure(
        "ranking",
        title,
        "With 10,000 test images "
        + (f"the typical entry could hold any of {int(width)} ranks." if width > 1 else "most ranks are certain."),
        specification(_chart(table)),
        {"models": table},
        "models",
        _COLUMNS,
        "Lines are Wilson's 95 % intervals. Two entries count as different where Newcombe's interval of their "
        "difference excludes zero. This is conservative, because all entries were evaluated on the same images.",
    )


def _chart(table: pd.DataFrame) -> Any:
    import altair as alt

    base = alt.Chart(named("models")).transform_filter("isValid(datum.autoattack_accuracy)")
    x = alt.X(field="rank", type="quantitative", title="rank", scale=alt.Scale(nice=False), axis=alt.Axis(tickCount=8))
    channels = defense_channels(kinds(table))
    spans = base.mark_rule(strokeWidth=1.4).encode(
        x=x,
        y=alt.Y(field="low", type="quantitative", scale=alt.Scale(zero=False)),
        y2=alt.Y2(field="high"),
        color=channels["color"],
    )
    tips = tooltips(_COLUMNS)
    marks = base.mark_point(filled=True, size=34).encode(
        x=x,
        y=percent_axis("autoattack_accuracy", "AutoAttack accuracy", "y"),
        opacity=dimmed(),
        tooltip=tips,
        **channels,
    )
    return (spans + marks).properties(width="container", height=320)
