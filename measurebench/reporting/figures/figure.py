"""Defines a figure: a Vega-Lite specification over named data, a title that states what is seen, and a data table."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from measurebench.reporting.html.theme import series

__all__ = [
    "NUMBER_LABEL",
    "POINTS_LABEL",
    "ROWS_AT_FIRST",
    "Column",
    "Figure",
    "Format",
    "brush",
    "defense_channels",
    "dimmed",
    "escaped",
    "named",
    "specification",
    "tooltips",
    "warning_rings",
]

Format = str
ROWS_AT_FIRST = 30  # about as many rows as a screen or two show


@dataclass(frozen=True)
class Column:
    """A column of a chart's data table; ``format`` is text, number, percent, points, tau, p or integer."""

    key: str
    label: str
    format: Format = "text"


@dataclass(frozen=True)
class Figure:
    """A chart over data sets that it names and does not hold.

    ``spec`` is Vega-Lite; ``data`` maps the names it uses to their tables; ``dataset`` and ``columns`` say what its
    data table shows; ``summary`` tells in words what is seen; ``reading`` explains how to read it. ``brush``: dragging
    selects models; ``picks``: a click chooses the measure of its datum.
    ``rows``: how many rows the chart has where it has rows; they carry ``order``, and the page draws the first
    ones. ``min_width``: below so many pixels it is moved sideways rather than squeezed.
    """

    id: str
    title: str
    summary: str
    spec: dict[str, Any]
    data: Mapping[str, pd.DataFrame]
    dataset: str
    columns: tuple[Column, ...]
    reading: str = ""
    brush: bool = False
    picks: bool = False
    open_table: bool = False
    rows: int = 0
    min_width: int = 0

    @property
    def limit(self) -> int:
        """How many rows are drawn at first: all of them, up to thirty."""
        return min(self.rows, ROWS_AT_FIRST)


def specification(chart: Any) -> dict[str, Any]:
    """Return an Altair chart as a plain specification, without the configuration that the page holds once."""
    # Validation would triple the time; the tests compile every specification instead.
    spec: dict[str, Any] = _with_plain_titles(chart.to_dict(validate=False))
    for name in ("config", "$schema"):
        spec.pop(name, None)
    # A chart as wide as its place, and as high as its rows need.
    return spec | {"autosize": {"type": "fit-x", "contains": "padding"}}


def _with_plain_titles(value: Any) -> Any:
    """Return a specification whose titles can stand inside an expression.

    Vega-Lite puts them, as they are but for quotes, into the expressions of its descriptions: there a line end breaks
    the text, and a backslash before a quote ends it.
    """
    if isinstance(value, list):
        return [_with_plain_titles(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _plain_title(item) if key == "title" and isinstance(item, str) else _with_plain_titles(item)
        for key, item in value.items()
    }


def _plain_title(text: str) -> str:
    r"""Return a title in one line without backslashes, which a similar sign replaces.

    >>> _plain_title("spec\nnorm")
    'spec norm'
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text).replace("\\", "\u2216")


def named(name: str) -> Any:
    """Return a reference to a named data set."""
    import altair as alt

    return alt.NamedData(name=name)


def defense_channels(defenses: tuple[str, ...], legend: bool = True) -> dict[str, Any]:
    """Return colour and shape by defense, with one legend for both; a single defense needs no legend."""
    import altair as alt

    colors, shapes = series(defenses)
    shown = alt.Legend(title=None, columns=4, symbolOpacity=1) if legend and len(defenses) > 1 else None
    domain = list(defenses)
    return {
        "color": alt.Color(
            field="_defense", type="nominal", scale=alt.Scale(domain=domain, range=colors), legend=shown
        ),
        "shape": alt.Shape(
            field="_defense", type="nominal", scale=alt.Scale(domain=domain, range=shapes), legend=shown
        ),
    }


def tooltips(columns: tuple[Column, ...]) -> list[Any]:
    """Return the tooltip of a mark: the columns of the figure's data table."""
    import altair as alt

    formats = {"percent": ".1%", "percent2": ".2%", "points": ".1%", "integer": ",", "text": ""}
    return [
        alt.Tooltip(
            field=column.key,
            type="nominal" if column.format == "text" else "quantitative",
            title=column.label,
            format=formats.get(column.format, ".3~f"),
        )
        for column in columns
    ]


def dimmed(full: float = 0.85, faint: float = 0.08) -> Any:
    """Return an opacity that fades models outside the reader's selection."""
    import altair as alt

    return alt.OpacityValue(full, condition={"test": "datum._dim === true", "value": faint})


def brush() -> Any:
    """Return the parameter through which dragging over a chart selects models; double click clears it."""
    import altair as alt

    mark = alt.BrushConfig(fill="var(--accent)", fillOpacity=0.1, stroke="var(--accent)", strokeOpacity=0.6)
    return alt.selection_interval(name="brush", encodings=["x", "y"], mark=mark)


def warning_rings(marks: Any, size: int = 120) -> Any:
    """Return rings around those marks of a chart of models that have a warning (column ``_warning``)."""
    return marks.transform_filter("datum._warning != null && datum._warning != ''").mark_point(
        shape="circle", filled=False, size=size, color="var(--bad)", strokeWidth=1.6, opacity=1, aria=False
    )


NUMBER_LABEL = (
    "datum.value != 0 && (abs(datum.value) >= 1e6 || abs(datum.value) < 1e-3)"
    " ? format(datum.value, '.2~e') : format(datum.value, '~r')"
)
POINTS_LABEL = "format(datum.value * 100, '~r')"


def escaped(field: str) -> str:
    """Return a column's name escaped for Vega-Lite, which would read dots and brackets as paths.

    >>> print(escaped("lr.max[0]"))
    lr\\.max\\[0\\]
    """
    return field.replace("\\", "\\\\").replace(".", "\\.").replace("[", "\\[").replace("]", "\\]")
