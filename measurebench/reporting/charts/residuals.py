"""Draws the models that break the pattern: what the best measure predicts for them, against what was found."""

from typing import Any

import pandas as pd

from measurebench.reporting.figures.figure import (
    Column,
    Figure,
    defense_channels,
    named,
    specification,
)
from measurebench.reporting.html.wording import count, fixed, listed, measure_name
from measurebench.reporting.subject.study import Study

__all__ = ["LABELLED", "STRANGE", "figure"]

STRANGE = 2.5  # studentized residuals; about one model in eighty lies beyond them by chance
LABELLED = 6  # more names would cover each other


def figure(study: Study) -> Figure | None:
    """Return observed minus predicted against predicted, or None where no line could be fitted."""
    rows = _rows(study)
    if rows.empty:
        return None
    measure = str(rows["measure"].iloc[0])
    name = measure_name(measure, study.infos)
    strange = rows[rows["size"] > STRANGE].sort_values("size", ascending=False)
    per = "one line per defense" if (rows["model"] == "within_defense").all() else "one line for all models"
    title = (
        f"{count(len(strange), 'model')} of {len(rows):,} {'lies' if len(strange) == 1 else 'lie'} far from "
        f"what {name} predicts"
        if len(strange)
        else f"No model of {len(rows):,} lies far from what {name} predicts"
    )
    told = [f"{row.model_id} ({study.target.told(row.residual)})" for row in strange.head(5).itertuples()]
    return Figure(
        "residuals",
        title,
        f"Predicted with {per}." + (f" The furthest: {listed(told, 5)}." if told else ""),
        specification(_chart(study, named_models=bool(len(strange)))),
        {"residuals": rows},
        "residuals",
        (
            Column("model_id", "model"),
            Column("_defense", "defense"),
            Column("observed", f"{study.target.short} found", study.target.format),
            Column("predicted", f"{study.target.short} predicted", study.target.format),
            Column("residual", "difference", study.target.format),
            Column("studentized", "in standard deviations", "tau"),
        ),
        f"Above zero {study.target.the} is larger than predicted. Models beyond {fixed(STRANGE, 1)} studentized "
        "residuals are named.",
        open_table=len(rows) <= 60,
    )


def _rows(study: Study) -> pd.DataFrame:
    """Return residuals of the lines per defense, of one line over all models where there are none."""
    found = study.analysis.residuals
    for model in ("within_defense", "simple"):
        chosen = found[found["model"] == model]
        if len(chosen):
            break
    else:
        return found
    defenses = dict(zip(study.table["model_id"], study.table["_defense"], strict=True))
    rows = chosen.assign(_defense=chosen["model_id"].map(defenses), size=chosen["studentized"].abs())
    furthest = rows["size"].rank(ascending=False, method="first") <= LABELLED
    rows = rows.assign(label=rows["model_id"].where(furthest & (rows["size"] > STRANGE), ""))
    return rows.sort_values(["size", "model_id"], ascending=[False, True]).reset_index(drop=True)


def _chart(study: Study, named_models: bool) -> Any:
    import altair as alt

    axis = alt.Axis(labelExpr=study.target.axis_label, tickCount=6)
    x = alt.X(
        field="predicted",
        type="quantitative",
        title=study.target.titled(f"{study.target.short} predicted"),
        axis=axis,
        scale=alt.Scale(zero=False),
    )
    y = alt.Y(field="residual", type="quantitative", title=study.target.titled("found minus predicted"), axis=axis)
    base = alt.Chart(named("residuals")).encode(x=x, y=y)
    marks = base.mark_point(filled=True, aria=False).encode(
        opacity=alt.value(0.85),
        tooltip=[
            alt.Tooltip(field="model_id", type="nominal", title="model"),
            alt.Tooltip(field="observed", type="quantitative", format=study.target.tooltip, title="found"),
            alt.Tooltip(field="predicted", type="quantitative", format=study.target.tooltip, title="predicted"),
            alt.Tooltip(field="studentized", type="quantitative", format=".2f", title="standard deviations"),
        ],
        **defense_channels(study.defenses),
    )
    names = (
        base.transform_filter("datum.label")
        .mark_text(dy=-10, fontSize=10, limit=160, color="var(--muted)")
        .encode(text=alt.Text(field="label", type="nominal"))
    )
    zero = (
        alt.Chart(alt.InlineData(values=[{"zero": 0}]))
        .mark_rule(strokeDash=[4, 4])
        .encode(y=alt.Y(field="zero", type="quantitative"))
    )
    return alt.layer(zero, marks, *([names] if named_models else [])).properties(width="container", height=320)
