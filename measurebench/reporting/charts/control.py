"""Draws the control: tau with the target, and the partial tau with train robust accuracy held fixed."""

from typing import Any

import pandas as pd

from measurebench.reporting.figures.figure import Column, Figure, named, specification, tooltips
from measurebench.reporting.html.wording import count, measure_name
from measurebench.reporting.subject.study import Study, is_sure

__all__ = ["figure"]

_COLUMNS = (
    Column("title", "measure"),
    Column("tau", "τ", "tau"),
    Column("tau_low", "τ, low", "tau"),
    Column("tau_high", "τ, high", "tau"),
    Column("partial", "partial τ", "tau"),
    Column("partial_low", "partial, low", "tau"),
    Column("partial_high", "partial, high", "tau"),
    Column("n_models", "n models", "integer"),
)

_WHY = "The gap is train minus test robust accuracy, so what follows train robust accuracy follows the gap too. "


def figure(study: Study) -> Figure | None:
    """Return the chart, or None where train robust accuracy is not in the table."""
    if study.accuracies is None:
        return None
    rows = [row for name in study.ranked if (row := _row(study, name, study.accuracies[0]))]
    if not rows:
        return None
    shown = [row for row in rows if row["tau_sure"]]
    left = [row for row in shown if row["partial_sure"] and (row["partial"] > 0) == (row["tau"] > 0)]
    turned = [row for row in shown if row["partial_sure"] and (row["partial"] > 0) != (row["tau"] > 0)]
    return Figure(
        "control",
        f"{len(left)} of {count(len(shown), 'association')} {'stands' if len(left) == 1 else 'stand'} when "
        "train robust accuracy is held fixed"
        if shown
        else "No association is shown over all models, so there is none to control",
        f"{count(len(turned), 'association')} {'changes' if len(turned) == 1 else 'change'} sign under the control."
        if turned
        else "None is shown to change sign under the control.",
        specification(_chart(len(rows), study.target.the)),
        {"control": pd.DataFrame(rows)},
        "control",
        _COLUMNS,
        f"{_WHY if study.target.is_gap else ''}Circle: τ; diamond: "
        "partial τ with train robust accuracy held fixed; lines are 95 % intervals.",
        picks=True,
        rows=len(rows),
    )


def _row(study: Study, name: str, held: str) -> dict[str, Any] | None:
    tau, partial = study.estimate(name), study.estimate(name, "partial_tau", axis=held)
    if not (tau and partial):
        return None
    return {
        "measure": name,
        "title": measure_name(name, study.infos),
        "order": study.ranked.index(name),
        "tau": tau["estimate"],
        "tau_low": tau["ci_low"],
        "tau_high": tau["ci_high"],
        "tau_sure": is_sure(tau),
        "partial": partial["estimate"],
        "partial_low": partial["ci_low"],
        "partial_high": partial["ci_high"],
        "partial_sure": is_sure(partial),
        "n_models": partial["n_models"],
    }


def _chart(n_rows: int, target: str) -> Any:
    import altair as alt

    zero = (
        alt.Chart(alt.InlineData(values=[{"zero": 0}]))
        .mark_rule(color="var(--rule)")
        .encode(x=alt.X(field="zero", type="quantitative"))
    )
    title = f"rank correlation with {target}"
    series = (_series("tau", "circle", "var(--s1)", -5, title), _series("partial", "diamond", "var(--s2)", 5, title))
    layers = alt.layer(zero, *series[0], *series[1])
    return layers.properties(width="container", height=28 * n_rows)


def _series(name: str, shape: str, color: str, shift: int, title: str) -> list[Any]:
    """Return an estimate with its interval, moved a little off the middle of the row."""
    import altair as alt

    y = alt.Y(
        field="title",
        type="nominal",
        title=None,
        sort=alt.EncodingSortField(field="order", op="min"),
        axis=alt.Axis(labelLimit=210, labelColor="var(--ink)", ticks=False, domain=False, grid=True),
    )
    scale = alt.Scale(domain=[-1, 1])
    base = alt.Chart(named("control"))
    line = base.mark_rule(color=color, strokeWidth=1.6, yOffset=shift).encode(
        y=y, x=alt.X(field=f"{name}_low", type="quantitative", scale=scale), x2=alt.X2(field=f"{name}_high")
    )
    tips = tooltips(_COLUMNS)
    mark = base.mark_point(filled=True, shape=shape, size=62, color=color, opacity=1, yOffset=shift).encode(
        y=y, x=alt.X(field=name, type="quantitative", scale=scale, title=title), tooltip=tips
    )
    return [line, mark]
