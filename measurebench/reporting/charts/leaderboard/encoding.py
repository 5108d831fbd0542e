"""Draws entries as marks, coloured and shaped by their training data, for all charts of the leaderboard."""

from typing import Any

import pandas as pd

from measurebench.reporting.figures.figure import Column, brush, defense_channels, dimmed, named

__all__ = ["ACCURACY_COLUMNS", "DATA_KINDS", "diagonal", "entries", "kinds", "percent_axis", "robust_title"]

DATA_KINDS = ("CIFAR-10 only", "CIFAR-100 only", "ImageNet only", "synthetic images", "extra real images", "not stated")
ACCURACY_COLUMNS = (
    Column("model_id", "model"),
    Column("paper", "paper"),
    Column("clean_accuracy", "clean", "percent2"),
    Column("robust_accuracy", "robust", "percent2"),
)


def robust_title(table: pd.DataFrame) -> str:
    """Return the title of an axis of ``robust_accuracy``: what it is measured under, on this board."""
    under_corruptions = len(table) and table["norm"].iloc[0] == "corruptions"
    return "accuracy under corruptions" if under_corruptions else "robust accuracy, best known"


def kinds(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the kinds of training data that occur, in a fixed order."""
    present = set(table["training_data"])
    return tuple(kind for kind in DATA_KINDS if kind in present)


def percent_axis(field: str, title: str, channel: str = "x", domain: tuple[float, float] | None = None) -> Any:
    """Return an axis of accuracies in percent."""
    import altair as alt

    scale = alt.Scale(zero=False, domain=list(domain)) if domain else alt.Scale(zero=False)
    make = alt.X if channel == "x" else alt.Y
    return make(field=field, type="quantitative", title=title, scale=scale, axis=alt.Axis(format=".0%", tickCount=6))


def entries(table: pd.DataFrame, x: Any, y: Any, needed: tuple[str, ...], brushed: bool = True, **channels: Any) -> Any:
    """Return entries as marks at x and y; rows without one of the ``needed`` fields are left out."""
    import altair as alt

    tips = [
        alt.Tooltip(field="model_id", type="nominal", title="model"),
        alt.Tooltip(field="paper", type="nominal", title="paper"),
        alt.Tooltip(field="venue", type="nominal", title="venue"),
        alt.Tooltip(field="clean_accuracy", type="quantitative", format=".2%", title="clean"),
        alt.Tooltip(field="robust_accuracy", type="quantitative", format=".2%", title="robust"),
        alt.Tooltip(field="training_data", type="nominal", title="training data"),
    ]
    chart = (
        alt.Chart(named("models"))
        .transform_filter(" && ".join(f"isValid(datum.{name})" for name in needed))
        .mark_point(filled=True, size=50, aria=False)
        .encode(x=x, y=y, opacity=dimmed(0.8), tooltip=tips, **defense_channels(kinds(table)), **channels)
    )
    return chart.add_params(brush()) if brushed else chart


def diagonal(low: float, high: float) -> Any:
    """Return the line of equality."""
    import altair as alt

    return (
        alt.Chart(alt.InlineData(values=[{"a": low}, {"a": high}]))
        .mark_line(color="var(--muted)", strokeDash=[4, 4], strokeWidth=1, clip=True)
        .encode(x=alt.X(field="a", type="quantitative"), y=alt.Y(field="a", type="quantitative"))
    )
