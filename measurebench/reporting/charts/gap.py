"""The distribution of the gap inside each defense."""

from typing import Any

from measurebench.reporting.charts.figure import (
    POINTS_LABEL,
    Column,
    Figure,
    defense_channels,
    dimmed,
    named,
    specification,
)
from measurebench.reporting.study import Study
from measurebench.reporting.wording import points, target_name


def figure(study: Study) -> Figure:
    """Return the strip chart, one row per defense, with the median marked."""
    target = target_name(study.analysis.target)
    medians = study.measured.groupby("_defense")["_target"].agg(["median", "count"]).sort_values("median")
    lowest, highest = medians.index[0], medians.index[-1]
    gap = study.measured["_target"]
    title = (
        f"The gap is widest under {highest} (median {points(medians['median'].iloc[-1])} points), narrowest under "
        f"{lowest} ({points(medians['median'].iloc[0])})"
        if len(medians) > 1
        else f"The gap runs from {points(gap.min())} to {points(gap.max())} points"
    )
    told = "; ".join(
        f"{name}: {points(row['median'])} ({int(row['count'])} models)" for name, row in medians.iterrows()
    )
    return Figure(
        "gap",
        title,
        f"Median {target} in percentage points: {told}.",
        specification(_chart(study)),
        {"models": study.table},
        "models",
        (Column("model_id", "model"), Column("_defense", "defense"), Column("_target", target, "points")),
        "Each mark is a model, spread vertically only to keep marks apart; the line is the median.",
        brush=True,
    )


def _chart(study: Study) -> Any:
    import altair as alt

    rows = list(study.defenses)
    y = alt.Y(field="_defense", type="nominal", sort=rows, title=None, axis=alt.Axis(labelFontSize=12, labelLimit=110))
    x = alt.X(
        field="_target", type="quantitative", title=f"{target_name(study.analysis.target)} (percentage points)",
        axis=alt.Axis(labelExpr=POINTS_LABEL, tickCount=6), scale=alt.Scale(zero=False),
    )  # fmt: skip
    offset = alt.YOffset(field="_jitter", type="quantitative", scale=alt.Scale(domain=[0, 1]))
    base = alt.Chart(named("models")).transform_filter("isValid(datum._target)")
    marks = (
        base.transform_calculate(_jitter="0.15 + 0.7 * ((datum._i * 0.618034) % 1)")
        .mark_point(filled=True, size=38, aria=False)
        .encode(
            x=x,
            y=y,
            yOffset=offset,
            opacity=dimmed(0.75),
            tooltip=[
                alt.Tooltip(field="model_id", type="nominal", title="model"),
                alt.Tooltip(field="_defense", type="nominal", title="defense"),
                alt.Tooltip(field="_target", type="quantitative", format=".1%", title="gap"),
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
    return alt.layer(marks, medians).properties(width="container", height=max(44, 260 // max(1, len(rows))) * len(rows))
