"""Draws overestimation, that is, reported minus AutoAttack accuracy, as a distribution and by venue."""

import pandas as pd

from measurebench.reporting.charts.leaderboard.encoding import entries
from measurebench.reporting.charts.leaderboard.venue import highest
from measurebench.reporting.figures.figure import POINTS_LABEL, Column, Figure, specification
from measurebench.reporting.html.wording import count, points

__all__ = ["TOLERANCE", "figures"]

_COLUMNS = (
    Column("model_id", "model"),
    Column("venue", "venue"),
    Column("reported_accuracy", "reported", "percent2"),
    Column("autoattack_accuracy", "AutoAttack", "percent2"),
    Column("overestimation", "difference", "points"),
)
TOLERANCE = 0.005  # half a point; many papers report whole or half points


def figures(table: pd.DataFrame) -> tuple[Figure, ...]:
    """Return both charts, or () where no reported accuracy is known."""
    known = table.dropna(subset=["overestimation"])
    return (_distribution(table, known), _by_venue(table, known)) if len(known) else ()


def _distribution(table: pd.DataFrame, known: pd.DataFrame) -> Figure:
    over = known["overestimation"]
    close, above, below = (int(hits.sum()) for hits in (over.abs() <= TOLERANCE, over > TOLERANCE, over < -TOLERANCE))
    return Figure(
        "overestimation",
        f"{close} of {count(len(known), 'report')} {'agrees' if close == 1 else 'agree'} with AutoAttack to "
        "half a point; "
        f"{above} are too high, {below} too low",
        f"Median {points(over.median(), 2)} points, upper quartile {points(over.quantile(0.75))}, maximum "
        f"{points(over.max())}.",
        specification(_strip(table)),
        {"models": table},
        "models",
        _COLUMNS,
        "Each mark is an entry, spread vertically only to keep marks apart.",
    )


def _x() -> object:
    import altair as alt

    return alt.X(
        field="overestimation",
        type="quantitative",
        title="reported minus AutoAttack (points)",
        axis=alt.Axis(labelExpr=POINTS_LABEL, tickCount=7),
    )


def _strip(table: pd.DataFrame) -> object:
    import altair as alt

    y = alt.Y(field="_jitter", type="quantitative", axis=None, scale=alt.Scale(domain=[0, 1]))
    chart = entries(table, _x(), y, ("overestimation",), brushed=False)
    return chart.transform_calculate(_jitter="0.1 + 0.8 * ((datum._i * 0.618034) % 1)").properties(
        width="container", height=160
    )


def _by_venue(table: pd.DataFrame, known: pd.DataFrame) -> Figure:
    import altair as alt

    medians = known.groupby("venue_name")["overestimation"].median().sort_values(ascending=False, kind="stable")
    y = alt.Y(
        field="venue_name",
        type="nominal",
        sort=list(medians.index),
        title=None,
        axis=alt.Axis(labelLimit=130, grid=True),
    )
    chart = entries(table, _x(), y, ("overestimation", "venue_name"), brushed=False)
    return Figure(
        "overestimation-venue",
        _capital(highest(medians, known["venue_name"].value_counts(), "the median overestimation is largest", _points)),
        f"It is above one point at {int((medians > 0.01).sum())} of {count(len(medians), 'venue')}.",
        specification(chart.properties(width="container", height=22 * len(medians))),
        {"models": table},
        "models",
        _COLUMNS,
        "Venues are ordered by their median; many have a single entry.",
    )


def _points(value: float) -> str:
    return f"{points(value)} points"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
