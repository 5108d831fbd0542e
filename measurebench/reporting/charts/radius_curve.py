"""Draws robust accuracy against the radius of the attack, one line per model."""

from typing import Any

import pandas as pd

from measurebench.core.columns import accuracy_column, accuracy_columns, attack_title, describe
from measurebench.core.threat import radius_text
from measurebench.reporting.figures.figure import Column, Figure, defense_channels, named, specification, tooltips
from measurebench.reporting.html.wording import count, listed, percent
from measurebench.reporting.subject.study import Study
from measurebench.stats.population.threats import radius_number

__all__ = ["curve", "figure"]

_COLUMNS = (
    Column("model_id", "model"),
    Column("_defense", "defense"),
    Column("radius", "radius"),
    Column("accuracy", "robust accuracy", "percent"),
)
# The texts of the ticks are data of the chart; a tick's index runs from 0 to 1.
_NAMES = "radius_names"
_LABEL = f"{_NAMES}[round(datum.index * (length({_NAMES}) - 1))]"


def figure(study: Study) -> Figure | None:
    """Return the chart, or None where no model has a robust test accuracy at two radii."""
    test = accuracy_columns(study.analysis.target)[1]
    rows = curve(study, test)
    radii = rows[rows["_radius"] > 0]
    if radii.groupby("model_id")["_radius"].nunique().max() < 2 if len(radii) else True:
        return None
    ends = radii.groupby("_radius")["accuracy"].median()
    attack = attack_title(describe(test).attack)
    return Figure(
        "radius",
        f"From radius {radius_text(ends.index[0])} to {radius_text(ends.index[-1])} median robust accuracy falls "
        f"from {percent(ends.iloc[0])} to {percent(ends.iloc[-1])}"
        if ends.iloc[-1] < ends.iloc[0]
        else f"Robust accuracy at {count(len(ends), 'radius', 'radii')}",
        f"{attack} accuracy on test images of {count(rows['model_id'].nunique(), 'model')} at the radii "
        f"{listed([radius_text(value) for value in ends.index], 12)}.",
        specification(_chart(study, rows, attack)),
        {"radii": rows},
        "radii",
        _COLUMNS,
        "Each line is a model. Radius 0 is its accuracy on clean images.",
    )


def curve(study: Study, accuracy: str) -> pd.DataFrame:
    """Return model, defense, radius (``_radius`` as a number) and accuracy of all radii, and clean accuracy at 0."""
    if study.sweep is None or accuracy not in study.sweep.columns:
        return pd.DataFrame(columns=["model_id", "_defense", "radius", "_radius", "accuracy"])
    table = study.sweep
    defenses = dict(zip(study.table["model_id"], study.table["_defense"], strict=True))
    clean = accuracy_column("clean", "test")
    values = pd.to_numeric(table[accuracy], errors="coerce")
    parts = [(table["radius"].map(radius_number), values)]
    if clean in table.columns:
        parts.append((pd.Series(0.0, index=table.index), pd.to_numeric(table[clean], errors="coerce")))
    rows = pd.concat(
        [pd.DataFrame({"model_id": table["model_id"], "_radius": radius, "accuracy": of}) for radius, of in parts]
    )
    rows = rows[rows["model_id"].isin(set(defenses))].dropna().drop_duplicates(["model_id", "_radius"])
    rows = rows.assign(
        _defense=rows["model_id"].map(defenses), radius=["0" if r == 0 else radius_text(r) for r in rows["_radius"]]
    )
    return rows.sort_values(["model_id", "_radius"], kind="stable").reset_index(drop=True)


def _chart(study: Study, rows: pd.DataFrame, attack: str) -> Any:
    import altair as alt

    values = sorted(set(rows["_radius"]))
    names = alt.param(name=_NAMES, value=["0" if value == 0 else radius_text(value) for value in values])
    x = alt.X(
        field="_radius",
        type="quantitative",
        title="radius of the attack (pixel units)",
        axis=alt.Axis(values=values, labelExpr=_LABEL, labelOverlap=True),
        # A little wider than the data, whose nine digits may round the last radius below its tick.
        scale=alt.Scale(domain=[values[0], values[-1] * 1.01], nice=False),
    )
    y = alt.Y(
        field="accuracy",
        type="quantitative",
        title=f"{attack} accuracy, test images",
        axis=alt.Axis(format=".0%", tickCount=6),
    )
    base = alt.Chart(named("radii"))
    channels = defense_channels(study.defenses)
    detail = alt.Detail(field="model_id", type="nominal")
    lines = base.mark_line(strokeWidth=1.2, opacity=0.45, aria=False).encode(
        x=x, y=y, detail=detail, color=channels["color"]
    )
    points = base.mark_point(filled=True, size=30, opacity=0.85, aria=False).encode(
        x=x, y=y, tooltip=tooltips(_COLUMNS), **channels
    )
    return alt.layer(lines, points).add_params(names).properties(width="container", height=340)
