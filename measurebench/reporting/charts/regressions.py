"""Draws what the settings alone explain of the target, and what each measure adds."""

from typing import Any

import pandas as pd

from measurebench.reporting.figures.figure import Column, Figure, named, specification, tooltips
from measurebench.reporting.html.wording import defined, fixed, measure_name, percent
from measurebench.reporting.subject.study import Study

__all__ = ["figure"]

_COLUMNS = (
    Column("title", "measure"),
    Column("simple", "R², measure alone", "tau"),
    Column("settings", "R², settings alone", "tau"),
    Column("both", "R², settings and measure", "tau"),
    Column("delta", "added", "tau"),
    Column("adjusted", "adjusted R²", "tau"),
    Column("p_value", "p of the measure", "p"),
    Column("n_models", "n models", "integer"),
)


def figure(study: Study) -> Figure | None:
    """Return the chart of R², or None where the settings could not be regressed on."""
    rows = _rows(study)
    if rows.empty:
        return None
    base, best = float(rows["settings"].iloc[0]), rows.iloc[0]
    return Figure(
        "regressions",
        f"Training settings alone explain {percent(base, 0)} of the variance of {study.target.the}; {best['title']} "
        f"adds most, {percent(best['delta'], 1)}",
        f"With {best['title']} R² rises from {fixed(base)} to {fixed(best['both'])} over "
        f"{int(best['n_models']):,} models.",
        specification(_chart(base, len(rows))),
        {"regressions": rows},
        "regressions",
        _COLUMNS,
        "Diamond: the measure alone. The bar runs from what the settings explain (dashed) to what settings and measure "
        "explain together. R² never falls when a predictor is added; the table has the adjusted R² and the p-value.",
        picks=True,
        rows=len(rows),
    )


def _rows(study: Study) -> pd.DataFrame:
    table = study.analysis.regressions
    base = table.loc[table["model"] == "settings_only", "r2"]
    if base.empty or not defined(float(base.iloc[0])):
        return pd.DataFrame()
    simple = table[table["model"] == "simple"].set_index("measure")["r2"]
    both = table[(table["model"] == "settings_plus_measure") & table["r2"].notna()]
    rows = [
        {
            "measure": row["measure"],
            "title": measure_name(row["measure"], study.infos),
            "settings": row["r2"] - row["delta_r2"],
            "simple": simple.get(row["measure"]),
            "both": row["r2"],
            "delta": row["delta_r2"],
            "adjusted": row["adj_r2"],
            "p_value": row["p_value"],
            "n_models": row["n_models"],
        }
        for row in both.to_dict("records")
    ]
    if not rows:
        return pd.DataFrame()
    return (
        pd.DataFrame(rows)
        .sort_values(["delta", "title"], ascending=[False, True])
        .reset_index(drop=True)
        .reset_index(names="order")
    )


def _chart(settings: float, n_rows: int) -> Any:
    import altair as alt

    y = alt.Y(
        field="title",
        type="nominal",
        title=None,
        sort=alt.EncodingSortField(field="order", op="min"),
        axis=alt.Axis(labelLimit=210, labelColor="var(--ink)", ticks=False, domain=False, grid=True),
    )
    scale = alt.Scale(domain=[0, 1])
    base = alt.Chart(named("regressions"))
    tips = tooltips(_COLUMNS)
    added = base.mark_bar(height=7, color="var(--s1)", cornerRadius=2).encode(
        y=y,
        x=alt.X(field="settings", type="quantitative", scale=scale, title="share of variance explained (R²)"),
        x2=alt.X2(field="both"),
        tooltip=tips,
    )
    end = base.mark_point(filled=True, size=52, color="var(--s1)", opacity=1).encode(
        y=y, x=alt.X(field="both", type="quantitative", scale=scale), tooltip=tips
    )
    alone = base.mark_point(filled=False, shape="diamond", size=60, strokeWidth=2, color="var(--s2)", opacity=1).encode(
        y=y, x=alt.X(field="simple", type="quantitative", scale=scale), tooltip=tips
    )
    line = (
        alt.Chart(alt.InlineData(values=[{"r2": settings}]))
        .mark_rule(strokeDash=[4, 4])
        .encode(x=alt.X(field="r2", type="quantitative", scale=scale))
    )
    return alt.layer(line, added, alone, end).properties(width="container", height=22 * n_rows)
