"""Draws two estimates of each measure with their intervals, one above the other in the measure's row."""

from typing import Any

from measurebench.reporting.figures.figure import Column, named, tooltips

__all__ = ["Series", "paired_chart"]

Series = tuple[str, str, str]  # the fields of an estimate and of both ends of its interval
_STYLES = (("circle", "var(--s1)", -5), ("diamond", "var(--s2)", 5))  # shape, colour, shift off the middle in pixels


def paired_chart(
    table: str, series: tuple[Series, Series], title: str, columns: tuple[Column, ...], n_rows: int
) -> Any:
    """Return the chart of two rank correlations from -1 to 1: circles for the first, diamonds for the second.

    ``table`` is the name of the data, with one row per measure and the fields ``title`` and ``order``.
    """
    import altair as alt

    zero = (
        alt.Chart(alt.InlineData(values=[{"zero": 0}]))
        .mark_rule(color="var(--rule)")
        .encode(x=alt.X(field="zero", type="quantitative"))
    )
    tips = tooltips(columns)
    pairs = [_marks(table, each, style, title, tips) for each, style in zip(series, _STYLES, strict=True)]
    layers = [layer for pair in pairs for layer in pair]
    return alt.layer(zero, *layers).properties(width="container", height=28 * n_rows)


def _marks(table: str, series: Series, style: tuple[str, str, int], title: str, tips: Any) -> tuple[Any, Any]:
    """Return the interval and the estimate."""
    import altair as alt

    (estimate, low, high), (shape, color, shift) = series, style
    y = alt.Y(
        field="title",
        type="nominal",
        title=None,
        sort=alt.EncodingSortField(field="order", op="min"),
        axis=alt.Axis(labelLimit=210, labelColor="var(--ink)", ticks=False, domain=False, grid=True),
    )
    scale = alt.Scale(domain=[-1, 1])
    base = alt.Chart(named(table))
    line = base.mark_rule(color=color, strokeWidth=1.6, yOffset=shift).encode(
        y=y, x=alt.X(field=low, type="quantitative", scale=scale), x2=alt.X2(field=high)
    )
    mark = base.mark_point(filled=True, shape=shape, size=62, color=color, opacity=1, yOffset=shift).encode(
        y=y, x=alt.X(field=estimate, type="quantitative", scale=scale, title=title), tooltip=tips
    )
    return line, mark
