"""Draws the robust sign error: how often a measure gets the direction of a change wrong, on average and at worst."""

from collections.abc import Hashable
from typing import Any

import pandas as pd

from measurebench.reporting.figures.figure import Column, Figure, named, specification
from measurebench.reporting.html.wording import count, defined, fixed, measure_name, setting_name
from measurebench.reporting.subject.study import Study

__all__ = ["figure"]

_COLUMNS = (
    Column("title", "measure"),
    Column("mean", "mean sign error", "tau"),
    Column("mean_low", "mean, low", "tau"),
    Column("mean_high", "mean, high", "tau"),
    Column("worst", "worst change", "tau"),
    Column("worst_low", "worst, low", "tau"),
    Column("worst_high", "worst, high", "tau"),
    Column("change", "worst change"),
    Column("n_pairs", "pairs", "integer"),
)


def figure(study: Study) -> Figure | None:
    """Return the chart, or None where no change of a setting had enough pairs."""
    rows = [row for name in study.ranked if (row := _row(study, name))]
    if not rows:
        return None
    rows.sort(key=lambda row: (row["worst"], row["mean"]))
    for i, row in enumerate(rows):
        row["order"] = i
    better = sum(row["worst"] < 0.5 for row in rows)
    best = rows[0]
    return Figure(
        "sign-error",
        f"{better} of {count(len(rows), 'measure')} {'beats' if better == 1 else 'beat'} a coin toss even in the "
        f"change of a setting that is worst for {'it' if better == 1 else 'them'}",
        f"The smallest worst-case sign error is {fixed(best['worst'])} ({best['title']}; {fixed(best['mean'])} "
        "on average).",
        specification(_chart(len(rows))),
        {"sign_error": pd.DataFrame(rows)},
        "sign_error",
        _COLUMNS,
        "Filled: the mean over all changes of one setting; open: the worst of them. 0.5 (dashed) is a coin toss. "
        f"Pairs of models whose {study.target.many} differ by no more than chance are not counted."
        + _changes(study, best),
        picks=True,
        rows=len(rows),
    )


def _changes(study: Study, row: dict[str, Any]) -> str:
    """Say on how many changes of a setting a measure's sign errors rest, and on which if on one alone."""
    found = study.analysis.environments
    own = found[found["measure"] == row["measure"]]
    kept = own[own["kept"].astype(bool)]
    if not len(own) or len(kept) == len(own):
        return ""
    only = f", that of {setting_name(kept['axis'].iloc[0])}: {row['change']}" if len(kept) == 1 else ""
    have = "has" if len(kept) == 1 else "have"
    return f" Only {len(kept)} of {count(len(own), 'change')} of a setting {have} enough pairs{only}."


def _row(study: Study, name: str) -> dict[str, Any] | None:
    mean, worst = study.estimate(name, "sign_error_mean"), _worst(study, name)
    if not (mean and worst):
        return None
    return {
        "measure": name,
        "title": measure_name(name, study.infos),
        "mean": mean["estimate"],
        "mean_low": mean["ci_low"],
        "mean_high": mean["ci_high"],
        "worst": worst["estimate"],
        "worst_low": worst["ci_low"],
        "worst_high": worst["ci_high"],
        "change": worst["level"],
        "n_pairs": mean["n_pairs"],
    }


def _worst(study: Study, name: str) -> dict[Hashable, Any]:
    """Return the worst sign error over all settings, or {}; its level names the change that it belongs to."""
    rows = study.analysis.correlations
    over_all = rows["axis"].isna() | (rows["axis"] == "")
    found = rows[(rows["measure"] == name) & (rows["statistic"] == "sign_error_max") & over_all].to_dict("records")
    return found[0] if found and defined(found[0]["estimate"]) else {}


def _chart(n_rows: int) -> Any:
    import altair as alt

    y = alt.Y(
        field="title",
        type="nominal",
        title=None,
        sort=alt.EncodingSortField(field="order", op="min"),
        axis=alt.Axis(labelLimit=210, labelColor="var(--ink)", ticks=False, domain=False, grid=True),
    )
    scale = alt.Scale(domain=[0, 1])
    base = alt.Chart(named("sign_error"))
    span = base.mark_rule(strokeWidth=1.5).encode(
        y=y, x=alt.X(field="mean", type="quantitative", scale=scale), x2=alt.X2(field="worst")
    )
    tips = [
        alt.Tooltip(field="title", type="nominal", title="measure"),
        alt.Tooltip(field="mean", type="quantitative", format=".3f", title="mean"),
        alt.Tooltip(field="worst", type="quantitative", format=".3f", title="worst"),
        alt.Tooltip(field="change", type="nominal", title="worst change"),
        alt.Tooltip(field="n_pairs", type="quantitative", format=",", title="pairs"),
    ]
    mean = base.mark_point(filled=True, size=60, color="var(--s1)", opacity=1).encode(
        y=y, x=alt.X(field="mean", type="quantitative", scale=scale, title="sign error"), tooltip=tips
    )
    worst = base.mark_point(filled=False, size=60, color="var(--s2)", opacity=1, strokeWidth=2, shape="diamond").encode(
        y=y, x=alt.X(field="worst", type="quantitative", scale=scale), tooltip=tips
    )
    coin = (
        alt.Chart(alt.InlineData(values=[{"coin": 0.5}]))
        .mark_rule(strokeDash=[4, 4])
        .encode(x=alt.X(field="coin", type="quantitative", scale=scale))
    )
    return alt.layer(coin, span, worst, mean).properties(width="container", height=22 * n_rows)
