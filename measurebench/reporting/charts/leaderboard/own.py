"""Draws a ranking of one's own models: robust accuracy with intervals, and against clean accuracy."""

from typing import Any

import pandas as pd

from measurebench.reporting.charts.leaderboard.encoding import percent_axis
from measurebench.reporting.figures.figure import (
    Column,
    Figure,
    brush,
    defense_channels,
    dimmed,
    named,
    specification,
    tooltips,
)
from measurebench.reporting.html.wording import count, percent
from measurebench.reporting.subject.rank_intervals import frontier

__all__ = ["CLEAN", "MOST_ROWS", "against_clean", "ranking"]

CLEAN = "clean_accuracy_test"
MOST_ROWS = 60  # models that the ranking names; more would make a chart of several screens

_COLUMNS = (
    Column("rank", "rank", "integer"),
    Column("model_id", "model"),
    Column("_defense", "defense"),
    Column("robust_accuracy", "robust accuracy", "percent2"),
    Column("low", "low", "percent2"),
    Column("high", "high", "percent2"),
    Column("attack", "attack"),
    Column("n_images", "images", "integer"),
)


def ranking(table: pd.DataFrame) -> Figure:
    """Return the models in the order of their ranks, each with its interval; open marks are upper bounds."""
    first, shared = table.iloc[0], int(table["rank_worst"].iloc[0])
    title = (
        f"{first['model_id']} leads with {percent(first['robust_accuracy'])}, by more than chance"
        if shared == 1
        else f"{shared} models could hold the first place; the best of them reaches {percent(first['robust_accuracy'])}"
    )
    width = float((table["rank_worst"] - table["rank_best"] + 1).median())
    bounds = int(table["weaker_attacks"].sum())
    left = len(table) - MOST_ROWS
    return Figure(
        "ranking",
        title,
        f"The typical model could hold any of {int(width)} ranks."
        if width > 1
        else "Most ranks are certain, as far as these images tell.",
        specification(_ranking_chart(table)),
        {"models": table},
        "models",
        _COLUMNS,
        "Lines are Wilson's 95 % intervals. Two models count as different where Newcombe's interval of their "
        "difference excludes zero."
        + (" Open marks faced weaker attacks than others: their robust accuracy may be lower." if bounds else "")
        + (f" The chart names the first {MOST_ROWS}; the table has {left} more." if left > 0 else ""),
        brush=True,
    )


def _ranking_chart(table: pd.DataFrame) -> Any:
    import altair as alt

    shown = table.head(MOST_ROWS)
    low, high = shown["low"].fillna(shown["robust_accuracy"]), shown["high"].fillna(shown["robust_accuracy"])
    domain = (max(float(low.min()) - 0.01, 0.0), min(float(high.max()) + 0.01, 1.0))
    y = alt.Y(
        field="model_id",
        type="nominal",
        title=None,
        sort=alt.EncodingSortField(field="_place", op="min"),
        axis=alt.Axis(labelLimit=230, grid=True, labelOverlap=False),
    )
    base = alt.Chart(named("models")).transform_filter(alt.FieldLTPredicate(field="_place", lt=MOST_ROWS))
    channels = defense_channels(tuple(dict.fromkeys(table["_defense"])))
    spans = base.mark_rule(strokeWidth=1.6, clip=True).encode(
        y=y,
        x=alt.X(field="low", type="quantitative", scale=alt.Scale(domain=list(domain))),
        x2=alt.X2(field="high"),
        color=channels["color"],
    )
    x = percent_axis("robust_accuracy", "robust accuracy on test images", "x", domain)
    shared = {"x": x, "y": y, "opacity": dimmed(), "tooltip": tooltips(_COLUMNS), **channels}
    bound = alt.FieldEqualPredicate(field="weaker_attacks", equal=True)
    pick = alt.selection_interval(name="brush", encodings=["x"])
    full = base.transform_filter(~bound).mark_point(filled=True, size=60).encode(**shared).add_params(pick)
    layers = [spans, full]
    if table["weaker_attacks"].any():
        layers.append(base.transform_filter(bound).mark_point(filled=False, size=60, strokeWidth=2).encode(**shared))
    return alt.layer(*layers).properties(width="container", height=max(80, 22 * len(shown)))


def against_clean(table: pd.DataFrame) -> Figure | None:
    """Return clean against robust accuracy with the frontier; None where fewer than two models have both."""
    if CLEAN not in table.columns or table[CLEAN].notna().sum() < 2:
        return None
    line = frontier(table.rename(columns={CLEAN: "clean_accuracy"}))
    line = line.rename(columns={"clean_accuracy": CLEAN})
    n = len(line)
    return Figure(
        "clean",
        f"{count(n, 'model')} {'is' if n == 1 else 'are'} on the frontier: no other is better in both clean and robust "
        "accuracy",
        f"On the frontier: {', '.join(line['model_id'].astype(str))}.",
        specification(_clean_chart(table)),
        {"models": table, "frontier": line[["model_id", CLEAN, "robust_accuracy"]]},
        "models",
        (Column("model_id", "model"), Column(CLEAN, "clean", "percent2"), _COLUMNS[3]),
        "The line joins the models of the frontier.",
        brush=True,
    )


def _clean_chart(table: pd.DataFrame) -> Any:
    import altair as alt

    x = percent_axis(CLEAN, "clean accuracy on test images")
    y = percent_axis("robust_accuracy", "robust accuracy on test images", "y")
    line = alt.Chart(named("frontier")).mark_line(color="var(--muted)", strokeWidth=1.4).encode(x=x, y=y)
    marks = (
        alt.Chart(named("models"))
        .transform_filter(f"isValid(datum.{CLEAN})")
        .mark_point(filled=True, size=60, aria=False)
        .encode(
            x=x,
            y=y,
            opacity=dimmed(),
            tooltip=tooltips((*_COLUMNS, Column(CLEAN, "clean", "percent2"))),
            **defense_channels(tuple(dict.fromkeys(table["_defense"]))),
        )
        .add_params(brush())
    )
    return (line + marks).properties(width="container", height=340)
