"""Draws train against test robust accuracy; the gap is the distance from the diagonal."""

from typing import Any

from measurebench.reporting.figures.figure import (
    Column,
    Figure,
    brush,
    defense_channels,
    dimmed,
    escaped,
    named,
    specification,
    warning_rings,
)
from measurebench.reporting.html.wording import count, percent
from measurebench.reporting.subject.study import Study

__all__ = ["figure", "rings"]


def figure(study: Study) -> Figure | None:
    """Return the chart, or None where the table has no robust accuracies."""
    if study.accuracies is None:
        return None
    train, test = study.accuracies
    models = study.measured.dropna(subset=[train, test])
    gap = study.target.name if study.target.is_gap else "robust generalization gap"
    above = int((models[train] > models[test]).sum())
    return Figure(
        "accuracy",
        f"{above:,} of {count(len(models), 'model')} {'is' if above == 1 else 'are'} more robust on training "
        "images than on test images",
        f"Robust accuracy runs from {percent(models[train].min())} to {percent(models[train].max())} on training "
        f"images and from {percent(models[test].min())} to {percent(models[test].max())} on test images.",
        specification(_chart(study, train, test)),
        {"models": study.table},
        "models",
        (
            Column("model_id", "model"),
            Column("_defense", "defense"),
            Column(train, "train robust accuracy", "percent"),
            Column(test, "test robust accuracy", "percent"),
            Column("_target", study.target.name, study.target.format),
            *((Column("_warning", "warning"),) if study.n_warned else ()),
        ),
        f"Each mark is a model. Its distance below the dashed diagonal is its {gap}.{rings(study)}",
        brush=True,
    )


def rings(study: Study) -> str:
    """Return what the rings of a chart mean, to be added to its reading; empty where it has none."""
    if not study.n_warned:
        return ""
    whose = "has" if study.n_warned == 1 else "have"
    return f" {count(study.n_warned, 'ringed model')} {whose} a warning of the attack (see Warnings)."


def _chart(study: Study, train: str, test: str) -> Any:
    import altair as alt

    models = study.measured.dropna(subset=[train, test])
    low = float(min(models[train].min(), models[test].min()))
    high = float(max(models[train].max(), models[test].max()))
    pad = max(0.02, (high - low) * 0.05)
    scale = alt.Scale(domain=[max(0, low - pad), min(1, high + pad)], nice=False, zero=False)
    axis = alt.Axis(format=".0%", tickCount=6)
    ends = alt.InlineData(values=[{"a": scale.domain[0]}, {"a": scale.domain[1]}])
    diagonal = (
        alt.Chart(ends)
        .mark_line(color="var(--muted)", strokeDash=[4, 4], strokeWidth=1, clip=True)
        .encode(x=alt.X(field="a", type="quantitative"), y=alt.Y(field="a", type="quantitative"))
    )
    base = alt.Chart(named("models")).transform_filter("isValid(datum._target)")
    x = alt.X(
        field=escaped(train), type="quantitative", scale=scale, axis=axis, title="robust accuracy, training images"
    )
    y = alt.Y(field=escaped(test), type="quantitative", scale=scale, axis=axis, title="robust accuracy, test images")
    points = (
        base.mark_point(filled=True, clip=True, aria=False)
        .encode(
            x=x,
            y=y,
            opacity=dimmed(),
            tooltip=[
                alt.Tooltip(field="model_id", type="nominal", title="model"),
                alt.Tooltip(field="_defense", type="nominal", title="defense"),
                alt.Tooltip(field=escaped(train), type="quantitative", format=".1%", title="train"),
                alt.Tooltip(field=escaped(test), type="quantitative", format=".1%", title="test"),
                *([alt.Tooltip(field="_warning", type="nominal", title="warning")] if study.n_warned else []),
            ],
            **defense_channels(study.defenses),
        )
        .add_params(brush())
    )
    warned = [warning_rings(base).encode(x=x, y=y)] if study.n_warned else []
    return alt.layer(diagonal, *warned, points).properties(width="container", height=340)
