"""Draws how far each model is from the most robust one, with paired intervals."""

from typing import Any

import pandas as pd

from measurebench.reporting.figures.figure import POINTS_LABEL, Column, Figure, named, specification, tooltips
from measurebench.reporting.html.wording import count, percent, points

__all__ = ["figure"]

_COLUMNS = (
    Column("model_id", "model"),
    Column("tier", "tier", "integer"),
    Column("accuracy", "robust accuracy", "percent2"),
    Column("to_first", "to the first", "points"),
    Column("to_first_low", "low", "points"),
    Column("to_first_high", "high", "points"),
)


def figure(entries: pd.DataFrame, n: int) -> Figure:
    """Return the differences to the most robust model, with their paired 95 % intervals, tier by tier."""
    rows = entries[[column.key for column in _COLUMNS]].assign(order=range(len(entries)))
    rows["tier_name"] = [f"tier {tier}" for tier in rows["tier"]]
    first, last = entries.iloc[0], entries.iloc[-1]
    leading = int((entries["tier"] == 1).sum())
    return Figure(
        "to-first",
        f"{count(leading, 'model')} of {len(entries)} {'is' if leading == 1 else 'are'} in the first tier",
        f"The most robust one, {first['model_id']}, withstands {percent(first['accuracy'])} of {n:,} images; the least "
        f"robust one is {points(-last['to_first']) if len(entries) > 1 else 0} points below it.",
        specification(_chart(len(rows))),
        {"first": rows},
        "first",
        _COLUMNS,
        "Lines are paired 95 % intervals of the difference (Agresti and Min 2005). Tiers alternate in colour.",
        rows=len(rows),
    )


def _chart(n_rows: int) -> Any:
    import altair as alt

    y = alt.Y(
        field="model_id",
        type="nominal",
        title=None,
        sort=alt.EncodingSortField(field="order", op="min"),
        axis=alt.Axis(labelLimit=260, grid=True),
    )
    color: Any = alt.condition("datum.tier % 2 == 1", alt.value("var(--s1)"), alt.value("var(--s2)"))
    base = alt.Chart(named("first"))
    title = "robust accuracy minus that of the first (points)"
    line = base.mark_rule(strokeWidth=1.6).encode(
        y=y,
        x=alt.X(field="to_first_low", type="quantitative"),
        x2=alt.X2(field="to_first_high"),
        color=color,
    )
    mark = base.mark_point(filled=True, size=56, opacity=1).encode(
        y=y,
        x=alt.X(field="to_first", type="quantitative", title=title, axis=alt.Axis(labelExpr=POINTS_LABEL)),
        color=color,
        tooltip=tooltips(_COLUMNS),
    )
    return (line + mark).properties(width="container", height=20 * n_rows)
