"""Draws tau of each measure in two studies, side by side."""

from typing import Any

import pandas as pd

from measurebench.reporting.figures.figure import Column, Figure, named, specification, tooltips
from measurebench.reporting.html.wording import count, fixed

__all__ = ["figure"]

_COLUMNS = (
    Column("title", "measure"),
    Column("change", "change"),
    Column("tau_a", "τ, first", "tau"),
    Column("low_a", "low", "tau"),
    Column("high_a", "high", "tau"),
    Column("tau_b", "τ, second", "tau"),
    Column("low_b", "low", "tau"),
    Column("high_b", "high", "tau"),
)


def figure(table: pd.DataFrame, first: str, second: str) -> Figure:
    """Return both estimates with their intervals, measures whose conclusion changed on top."""
    both = table.dropna(subset=["tau_a", "tau_b"])
    order = both["tau_a"].corr(both["tau_b"], method="kendall") if len(both) > 2 else float("nan")
    same = int(((both["tau_a"] > 0) == (both["tau_b"] > 0)).sum())
    return Figure(
        "compared",
        f"{same} of {count(len(both), 'measure')} {'has' if same == 1 else 'have'} the same sign in both studies",
        f"The two rankings of the measures agree with Kendall's τ = {fixed(order)}.",
        specification(_chart(len(table))),
        {"models": table},
        "models",
        _COLUMNS,
        f"Circle: {first}; diamond: {second}; lines are 95 % intervals.",
    )


def _chart(n_rows: int) -> Any:
    import altair as alt

    zero = (
        alt.Chart(alt.InlineData(values=[{"zero": 0}]))
        .mark_rule(color="var(--rule)")
        .encode(x=alt.X(field="zero", type="quantitative"))
    )
    series = (_series("a", "circle", "var(--s1)", -5), _series("b", "diamond", "var(--s2)", 5))
    layers = alt.layer(zero, *series[0], *series[1])
    return layers.properties(width="container", height=28 * n_rows)


def _series(side: str, shape: str, color: str, shift: int) -> list[Any]:
    import altair as alt

    y = alt.Y(
        field="title",
        type="nominal",
        title=None,
        sort=alt.EncodingSortField(field="order", op="min"),
        axis=alt.Axis(labelLimit=210, labelColor="var(--ink)", ticks=False, domain=False, grid=True),
    )
    scale = alt.Scale(domain=[-1, 1])
    base = alt.Chart(named("models"))
    line = base.mark_rule(color=color, strokeWidth=1.6, yOffset=shift).encode(
        y=y, x=alt.X(field=f"low_{side}", type="quantitative", scale=scale), x2=alt.X2(field=f"high_{side}")
    )
    mark = base.mark_point(filled=True, shape=shape, size=62, color=color, opacity=1, yOffset=shift).encode(
        y=y,
        x=alt.X(field=f"tau_{side}", type="quantitative", scale=scale, title="τ with the target, over all models"),
        tooltip=tooltips(_COLUMNS),
    )
    return [line, mark]
