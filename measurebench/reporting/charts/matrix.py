"""Draws a matrix of rank correlations: one row per measure, numbers on colour, intervals where there is room."""

from collections.abc import Mapping
from typing import Any

from measurebench.reporting.figures.figure import Column, named
from measurebench.reporting.html.theme import TAU_FILLS, TAU_INKS, TAU_STEPS

__all__ = ["COLUMNS", "EXPECTED", "FEW_PAIRS", "few_pairs", "matrix", "matrix_width"]

FEW_PAIRS = 10
"""Cells that rest on fewer pairs than this are faded: of so few, chance alone gives plus or minus one."""

EXPECTED = "expected\nsign"
COLUMNS = (
    Column("title", "measure"),
    Column("expected", "expected sign"),
    Column("group", "column"),
    Column("n_models", "n models", "integer"),
    Column("n_pairs", "n pairs", "integer"),
    Column("estimate", "estimate", "tau"),
    Column("ci_low", "low", "tau"),
    Column("ci_high", "high", "tau"),
    Column("p_adjusted", "adjusted p", "p"),
)


def few_pairs(row: Mapping[str, Any]) -> bool:
    """Say whether a cell rests on so few pairs that it must not look strong."""
    return bool(row) and (row.get("n_pairs") or 0) < FEW_PAIRS


def matrix_width(n_columns: int) -> int:
    """Return the width in pixels below which the numbers would run into each other."""
    return 170 + 48 * n_columns


def matrix(dataset: str, columns: list[str], n_rows: int, statistic: str) -> Any:
    """Return the chart over rows ``title, column, estimate, ci_low, ci_high, n_models, p_adjusted, sign, sure, order``.

    A row whose ``few`` is true rests on few pairs and is faded.

    ``columns`` are the values of ``column`` from left to right; a line break in them breaks the label.
    """
    import altair as alt

    x = alt.X(
        field="column",
        type="nominal",
        sort=columns,
        title=None,
        axis=alt.Axis(
            orient="top",
            labelAngle=0,
            labelExpr=_LABEL,
            labelFontSize=11,
            labelColor="var(--ink)",
            domain=False,
            ticks=False,
            labelLimit=110,
            labelOverlap=False,
            labelPadding=18,
            labelLineHeight=13,
        ),
    )
    y = alt.Y(
        field="title",
        type="nominal",
        sort=alt.EncodingSortField(field="order", op="min"),
        title=None,
        axis=alt.Axis(labelLimit=210, labelFontSize=11.5, labelColor="var(--ink)", domain=False, ticks=False),
    )
    base = alt.Chart(named(dataset)).encode(x=x, y=y)
    cells = (
        base.transform_filter("!datum.sign")
        .mark_rect(invalid="show", cornerRadius=2, stroke="var(--paper)", strokeWidth=2, cursor="pointer")
        .encode(
            color=_scale(TAU_FILLS, statistic, "var(--panel)"),
            opacity=alt.condition("datum.few", alt.value(_FADED), alt.value(1)),
            tooltip=_tooltip(statistic),
        )
    )
    layers = alt.layer(cells, *_numbers(base), _intervals(base), _signs(base))
    return layers.resolve_scale(color="independent").properties(width="container", height=30 * n_rows)


# Where columns are narrow their names are cut; tooltips and the data table have them whole.
_LETTERS = "max(4, floor(bandwidth('x') / 6))"
_LABEL = (
    f"[truncate(split(datum.label, '\\n')[0], {_LETTERS}), truncate(split(datum.label, '\\n')[1] || ' ', {_LETTERS})]"
)


def _scale(colors: tuple[str, ...], title: str, missing: str, legend: bool = True) -> Any:
    """Colour an estimate by its class. Without the condition Vega-Lite would give a missing one the class of zero."""
    import altair as alt

    shown = (
        alt.Legend(
            title=title,
            type="gradient",
            gradientLength=_BAND * len(colors),
            labelExpr=_LEGEND,
            labelOverlap=False,
        )
        if legend
        else None
    )
    unlike = [{"test": "!isValid(datum.estimate)", "value": missing}]
    unlike += [] if legend else [{"test": "datum.few", "value": "var(--ink)"}]
    return alt.Color(
        field="estimate",
        type="quantitative",
        legend=shown,
        scale=alt.Scale(type="threshold", domain=list(TAU_STEPS), range=list(colors)),
        condition=unlike,
    )


_FADED = 0.28  # the sign can still be seen, but no faded cell looks as strong as a full one


# A band of the colour bar is labelled at its left end: the first begins at -1, the others at the steps.
_ENDS = ["\u22121", *(f"{step:g}".replace("-", "\u2212").replace("0.", ".") for step in TAU_STEPS)]
_LEGEND = f"{_ENDS}[datum.index]"
_BAND = 30  # pixels; the labels have room


def _numbers(base: Any) -> list[Any]:
    """Write each estimate, in bold where it is shown to differ from zero."""
    import altair as alt

    text = base.transform_filter("!datum.sign").transform_calculate(
        _shown="isValid(datum.estimate) ? format(datum.estimate, '.2f') : '\u2013'",
    )
    ink = _scale(TAU_INKS, "", "var(--muted)", legend=False)
    shared = {"text": alt.Text(field="_shown", type="nominal"), "color": ink}
    sure = text.transform_filter("datum.sure").mark_text(
        invalid="show", fontWeight=700, dy=_ROOM, fontSize=11.5, aria=False
    )
    unsure = text.transform_filter("!datum.sure").mark_text(invalid="show", dy=_ROOM, fontSize=11.5, aria=False)
    return [sure.encode(**shared), unsure.encode(**shared)]


_WIDE = "bandwidth('x') > 78"
_ROOM: Any = {"expr": f"{_WIDE} ? -5 : 0"}


def _intervals(base: Any) -> Any:
    """Write the interval below the estimate where a column is wide enough."""
    import altair as alt

    return (
        base.transform_filter("!datum.sign && isValid(datum.ci_low)")
        .transform_calculate(_interval="format(datum.ci_low, '.2f') + ' to ' + format(datum.ci_high, '.2f')")
        .mark_text(dy=8, fontSize=9.5, opacity={"expr": f"{_WIDE} ? 0.85 : 0"}, aria=False)
        .encode(
            text=alt.Text(field="_interval", type="nominal"), color=_scale(TAU_INKS, "", "var(--muted)", legend=False)
        )
    )


def _signs(base: Any) -> Any:
    import altair as alt

    return (
        base.transform_filter("datum.sign")
        .mark_text(fontSize=14, color="var(--muted)", aria=False)
        .encode(text=alt.Text(field="sign", type="nominal"))
    )


def _tooltip(statistic: str) -> list[Any]:
    import altair as alt

    return [
        alt.Tooltip(field="title", type="nominal", title="measure"),
        alt.Tooltip(field="group", type="nominal", title="column"),
        alt.Tooltip(field="estimate", type="quantitative", format=".3f", title=statistic),
        alt.Tooltip(field="ci_low", type="quantitative", format=".3f", title="interval from"),
        alt.Tooltip(field="ci_high", type="quantitative", format=".3f", title="to"),
        alt.Tooltip(field="n_models", type="quantitative", format=",", title="models"),
        alt.Tooltip(field="p_adjusted", type="quantitative", format=".3f", title="adjusted p"),
    ]
