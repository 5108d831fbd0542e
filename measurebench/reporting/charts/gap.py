"""Draws the distribution of the target inside each defense."""

from typing import Any

import pandas as pd

from measurebench.reporting.charts.accuracies import rings
from measurebench.reporting.figures.figure import (
    Column,
    Figure,
    defense_channels,
    dimmed,
    named,
    specification,
    warning_rings,
)
from measurebench.reporting.html.wording import count
from measurebench.reporting.subject.study import Study

__all__ = ["figure"]


def figure(study: Study) -> Figure:
    """Return the strip chart, one row per defense, with the median marked."""
    target = study.target
    medians = study.measured.groupby("_defense")["_target"].agg(["median", "count"]).sort_values("median")
    told = "; ".join(
        f"{name}: {target.text(row['median'])} ({count(int(row['count']), 'model')})"
        for name, row in medians.iterrows()
    )
    return Figure(
        "gap",
        _title(study, medians["median"]),
        f"Median {target.name}{' in percentage points' if target.is_gap else ''}: {told}.",
        specification(_chart(study)),
        {"models": study.table},
        "models",
        (
            Column("model_id", "model"),
            Column("_defense", "defense"),
            Column("_target", target.name, target.format),
            *((Column("_warning", "warning"),) if study.n_warned else ()),
        ),
        f"Each mark is a model, spread vertically only to keep marks apart; the line is the median.{rings(study)}",
        brush=True,
    )


def _title(study: Study, medians: "pd.Series[Any]") -> str:
    target, values = study.target, study.measured["_target"]
    if len(medians) < 2:
        return f"{target.subject} runs from {target.text(values.min())} to {target.told(values.max())}"
    most, least = ("widest", "narrowest") if target.is_gap else ("highest", "lowest")
    return (
        f"{target.subject} is {most} under {medians.index[-1]} (median {target.told(medians.iloc[-1])}), {least} under "
        f"{medians.index[0]} ({target.text(medians.iloc[0])})"
    )


def _chart(study: Study) -> Any:
    import altair as alt

    rows = list(study.defenses)
    y = alt.Y(field="_defense", type="nominal", sort=rows, title=None, axis=alt.Axis(labelFontSize=12, labelLimit=110))
    x = alt.X(
        field="_target",
        type="quantitative",
        title=study.target.axis_title,
        axis=alt.Axis(labelExpr=study.target.axis_label, tickCount=6),
        scale=alt.Scale(zero=False),
    )
    offset = alt.YOffset(field="_jitter", type="quantitative", scale=alt.Scale(domain=[0, 1]))
    base = alt.Chart(named("models")).transform_filter("isValid(datum._target)")
    spread = base.transform_calculate(_jitter="0.15 + 0.7 * ((datum._i * 0.618034) % 1)")
    marks = (
        spread.mark_point(filled=True, size=38, aria=False)
        .encode(
            x=x,
            y=y,
            yOffset=offset,
            opacity=dimmed(0.75),
            tooltip=[
                alt.Tooltip(field="model_id", type="nominal", title="model"),
                alt.Tooltip(field="_defense", type="nominal", title="defense"),
                alt.Tooltip(
                    field="_target", type="quantitative", format=study.target.tooltip, title=study.target.short
                ),
                *([alt.Tooltip(field="_warning", type="nominal", title="warning")] if study.n_warned else []),
            ],
            **defense_channels(study.defenses, legend=False),
        )
        .add_params(alt.selection_interval(name="brush", encodings=["x"]))
    )
    middle = (
        base.transform_aggregate(
            [alt.AggregatedFieldDef(op="median", field="_target", **{"as": "_median"})], groupby=["_defense"]
        )
        .transform_calculate(_jitter="0.5")
        .mark_point(shape="stroke", angle=90, size=1000, filled=False, strokeWidth=2.5, color="var(--ink)", opacity=1)
    )
    medians = middle.encode(x=alt.X(field="_median", type="quantitative"), y=y, yOffset=offset)
    warned = [warning_rings(spread, 90).encode(x=x, y=y, yOffset=offset)] if study.n_warned else []
    return alt.layer(*warned, marks, medians).properties(
        width="container", height=max(44, 260 // max(1, len(rows))) * len(rows)
    )
