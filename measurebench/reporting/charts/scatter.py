"""Draws one measure against the target, with a colour, a shape and a fitted line with its band per defense."""

import re
from collections.abc import Collection
from typing import Any

import pandas as pd

from measurebench.reporting.charts.curves import POINTS, local_fit
from measurebench.reporting.figures.figure import (
    NUMBER_LABEL,
    Column,
    Figure,
    brush,
    defense_channels,
    dimmed,
    named,
    specification,
)
from measurebench.reporting.html.wording import (
    MINUS,
    axis_title,
    count,
    fixed,
    interval,
    measure_name,
)
from measurebench.reporting.subject.study import ALL, Study, is_sure
from measurebench.stats.judging.verdict import GAIN

__all__ = ["STEPS", "TITLE", "figure", "fit_lines", "inside", "sentence", "template"]

TITLE = "@title"
STEPS = POINTS - 1
# Verdicts that one direction over all models would contradict.
_NEITHER_WAY = frozenset({"turns_with_defense", "within_defenses_only", "too_few"})
# What is added to the direction over all models where the measure does not hold.
_BEYOND = {
    "tells_settings": "; beside the settings, one curve for all models lowers the squared error by less than "
    f"{100 * GAIN:.0f} %, if at all",
    "untested_beside_settings": ", perhaps no more than the settings predict",
    "explained_by_train_accuracy": ", of which less than half is left with train robust accuracy held fixed",
    "turns_with_train_accuracy": ", and the other way with train robust accuracy held fixed",
}


def figure(study: Study, measure: str) -> Figure:
    """Return the scatter of one measure; the page shows all measures through the specification of the first."""
    models = study.table.assign(_x=pd.to_numeric(study.table[measure], errors="coerce"))
    fits = fit_lines(study, [measure])
    return Figure(
        "scatter",
        sentence(study, measure),
        inside(study, measure),
        specification(_chart(study, axis_title(measure, study.infos), fits)),
        {"models": models, "fits": fits},
        "models",
        (
            Column("model_id", "model"),
            Column("_defense", "defense"),
            Column("_x", measure_name(measure, study.infos), "number"),
            Column("_target", study.target.name, study.target.format),
        ),
        "Lines are least-squares fits per defense; the band is the 95 % confidence band of the line. A curve without a "
        "band is a local fit (LOWESS), drawn where a line does not describe the models (F test, p < 0.01).",
        brush=True,
    )


def template(study: Study) -> dict[str, Any]:
    """Return the specification with a placeholder for the axis title, for the page to fill in."""
    return specification(_chart(study, TITLE, fit_lines(study)))


def fit_lines(study: Study, measures: Collection[str] | None = None) -> pd.DataFrame:
    """Return the fitted lines, one per measure and defense (or one over all models where there is one defense).

    Where the relation is curved, ``curve_x`` and ``curve_y`` hold the points of a local fit as texts, with spaces
    between the numbers. ``measures`` limits the rows.
    """
    fits = study.analysis.fits.rename(columns={"level": "_defense"})
    fits = fits if measures is None else fits[fits["measure"].isin(measures)]
    fits = fits.assign(_defense=fits["_defense"].fillna("").astype(str))
    if study.defenses == (ALL,):
        fits = fits[fits["_defense"] == ""].assign(_defense=ALL)
    fits = fits[fits["_defense"].isin(study.defenses)]
    curves = [_curve(study, *names) for names in zip(fits["measure"], fits["_defense"], strict=True)]
    columns = {name: [curve[i] for curve in curves] for i, name in enumerate(("curve_x", "curve_y"))}
    return fits.assign(**{name: pd.Series(texts, fits.index, dtype=object) for name, texts in columns.items()})


def _curve(study: Study, measure: str, defense: str) -> tuple[str | None, str | None]:
    """Return the local fit of a measure inside a defense as two texts; None where a line will do."""
    rows = study.measured[study.measured["_defense"] == defense]
    both = pd.DataFrame({"x": pd.to_numeric(rows[measure], errors="coerce"), "y": rows["_target"]}).astype(float)
    both = both.replace([float("inf"), float("-inf")], float("nan")).dropna()
    found = local_fit(both["x"].to_numpy(), both["y"].to_numpy())
    if found is None:
        return None, None
    at, fitted = (" ".join(f"{value:.6g}" for value in part) for part in found)
    return at, fitted


def sentence(study: Study, measure: str) -> str:
    """Return what is seen for one measure over all models, with the number behind it."""
    row, target = study.estimate(measure), study.target
    name = measure_name(measure, study.infos)
    if not row:
        return f"{name}: no rank correlation with {target.the} can be computed"
    told = f"(τ = {fixed(row['estimate'])}, 95 % {interval(row['ci_low'], row['ci_high'])}, n = {int(row['n_models'])})"
    if (code := study.verdicts.get(measure)) in _NEITHER_WAY:
        return f"{name} {study.verdict_words[measure]} {told}"
    if not is_sure(row):
        return f"{name}: no association with {target.the} is shown {told}"
    way = f"larger values go with {'larger' if row['estimate'] > 0 else 'smaller'} {target.many}"
    return f"{name}: {way}{_BEYOND.get(str(code), '')} {told}"


def inside(study: Study, measure: str) -> str:
    """Return the judgement of the analysis in words; without one, tau inside each defense."""
    judged = study.analysis.judgements
    if len(said := judged.loc[judged["measure"] == measure, "sentence"]):
        text = str(said.iloc[0]).replace("tau_b", "τ").replace("tau ", "τ ")
        return re.sub(r"(?<!\w)-(?=\d)", MINUS, text)
    told = []
    for level in study.defenses:
        if row := study.estimate(measure, "tau_within", level):
            told.append(
                f"{level} τ = {fixed(row['estimate'])} {interval(row['ci_low'], row['ci_high'])}, "
                f"{count(int(row['n_models']), 'model')}"
            )
    expected = {"+": "larger", "-": "smaller"}.get(study.infos[measure].hypothesis if measure in study.infos else "")
    folklore = f" Expected beforehand: larger values with {expected} gaps." if expected and study.target.is_gap else ""
    return (f"Inside each defense: {'; '.join(told)}." if told else "") + folklore


def _chart(study: Study, title: str, fits: pd.DataFrame) -> Any:
    import altair as alt

    x = alt.X(
        field="_x",
        type="quantitative",
        title=title,
        scale=alt.Scale(zero=False),
        axis=alt.Axis(tickCount=6, labelExpr=NUMBER_LABEL),
    )
    y = alt.Y(
        field="_target",
        type="quantitative",
        title=study.target.axis_title,
        axis=alt.Axis(labelExpr=study.target.axis_label, tickCount=6),
        scale=alt.Scale(zero=False),
    )
    points = (
        alt.Chart(named("models"))
        .transform_filter("isValid(datum._target) && isValid(datum._x)")
        .mark_point(filled=True, aria=False)
        .encode(
            x=x,
            y=y,
            opacity=dimmed(),
            tooltip=[
                alt.Tooltip(field="model_id", type="nominal", title="model"),
                alt.Tooltip(field="_defense", type="nominal", title="defense"),
                alt.Tooltip(field="_x", type="quantitative", format=".4g", title="measure"),
                alt.Tooltip(
                    field="_target", type="quantitative", format=study.target.tooltip, title=study.target.short
                ),
            ],
            **defense_channels(study.defenses),
        )
        .add_params(brush())
    )
    chart = alt.layer(*_lines(study, x, y), points) if len(fits) else points
    return chart.properties(width="container", height=380)


# A local fit is two texts of numbers: the ones below are those at which the line has arrived.
_CURVED = "isString(datum.curve_x)"
_CURVE_X = "toNumber(split(datum.curve_x, ' ')[datum._t])"
_CURVE_Y = "toNumber(split(datum.curve_y, ' ')[datum._t])"


def _lines(study: Study, x: Any, y: Any) -> list[Any]:
    """Draw intercept + slope x, and the band t s sqrt(1/n + (x - mean)^2 / sum of squares) around it.

    A local fit, where there is one, is drawn in place of both.
    """
    import altair as alt

    color = defense_channels(study.defenses)["color"]
    base = (
        alt.Chart(named("fits"))
        .transform_calculate(_t=f"sequence({STEPS + 1})")
        .transform_flatten(["_t"])
        .transform_calculate(
            _x=f"{_CURVED} ? {_CURVE_X} : datum.x_min + (datum.x_max - datum.x_min) * datum._t / {STEPS}"
        )
        .transform_calculate(
            _target=f"{_CURVED} ? {_CURVE_Y} : datum.intercept + datum.slope * datum._x",
            _half="datum.t_quantile * datum.residual_sd * sqrt(1 / datum.n_models + pow(datum._x - "
            "datum.x_mean, 2) / datum.x_sum_squares)",
        )
        .transform_calculate(_low="datum._target - datum._half", _high="datum._target + datum._half")
    )
    band = (
        base.transform_filter(f"!({_CURVED})")
        .mark_area(opacity=0.13)
        .encode(x=x, y=alt.Y(field="_low", type="quantitative"), y2=alt.Y2(field="_high"), color=color)
    )
    return [band, base.mark_line(strokeWidth=1.6).encode(x=x, y=y, color=color)]
