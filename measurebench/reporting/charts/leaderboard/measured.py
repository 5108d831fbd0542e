"""Draws a measure of the entries against their robust accuracy."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from measurebench.core.info import MeasureInfo
from measurebench.reporting.charts.leaderboard.encoding import entries, percent_axis, robust_title
from measurebench.reporting.charts.scatter import TITLE
from measurebench.reporting.figures.figure import NUMBER_LABEL, Column, Figure, specification
from measurebench.reporting.html.wording import axis_title, fixed, measure_name

__all__ = ["about", "figure", "template"]


def figure(table: pd.DataFrame, measure: str, infos: Mapping[str, MeasureInfo]) -> Figure:
    """Return the scatter of one measure."""
    told = about(table, measure, infos)
    return Figure(
        "scatter",
        told["sentence"],
        told["inside"],
        specification(_chart(table, told["axis"])),
        {"models": table.assign(_x=table[measure])},
        "models",
        (
            Column("model_id", "model"),
            Column("_x", measure, "number"),
            Column("robust_accuracy", "robust", "percent2"),
        ),
        "Each mark is an entry for which the measure is known.",
        brush=True,
    )


def template(table: pd.DataFrame) -> dict[str, Any]:
    """Return the specification with a placeholder for the axis title, for the page to fill in."""
    return specification(_chart(table, TITLE))


def _chart(table: pd.DataFrame, title: str) -> Any:
    import altair as alt

    x = alt.X(
        field="_x",
        type="quantitative",
        title=title,
        scale=alt.Scale(zero=False),
        axis=alt.Axis(labelExpr=NUMBER_LABEL),
    )
    chart = entries(table, x, percent_axis("_target", robust_title(table), "y"), ("_x", "_target"))
    return chart.properties(width="container", height=340)


def about(table: pd.DataFrame, measure: str, infos: Mapping[str, MeasureInfo]) -> dict[str, str]:
    """Return what the page tells of a measure."""
    both = table[[measure, "robust_accuracy"]].dropna()
    tau = both[measure].corr(both["robust_accuracy"], method="kendall") if len(both) > 2 else float("nan")
    info = infos.get(measure)
    return {
        "id": measure,
        "title": measure_name(measure, infos),
        "axis": axis_title(measure, infos),
        "sentence": f"{measure_name(measure, infos)} and robust accuracy: Kendall's τ = {fixed(tau)} over "
        f"{len(both)} entries",
        "inside": "Entries of one paper are not independent, so no interval is given here; `measurebench "
        "analyze` resamples papers.",
        "explanation": info.explanation if info else "",
        "formula": info.formula if info else "",
        "source": info.source if info else "",
    }
