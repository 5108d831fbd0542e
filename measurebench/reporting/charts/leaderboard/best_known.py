"""Draws the rank by AutoAttack against the rank by the best known attack."""

from typing import Any

import pandas as pd

from measurebench.reporting.figures.figure import Column, Figure, named, specification
from measurebench.reporting.html.wording import count, points

__all__ = ["figure"]

_COLUMNS = (
    Column("model_id", "model"),
    Column("rank_autoattack", "rank, AutoAttack", "integer"),
    Column("rank", "rank, best known", "integer"),
    Column("autoattack_accuracy", "AutoAttack", "percent2"),
    Column("best_known_accuracy", "best known", "percent2"),
    Column("drop", "lower by", "points"),
)


def figure(table: pd.DataFrame) -> Figure | None:
    """Return the entries for which a stronger attack than AutoAttack is known, or None where none is."""
    ranks = table["autoattack_accuracy"].rank(ascending=False, method="min")
    drop = table["autoattack_accuracy"] - table["best_known_accuracy"]
    lower = table.assign(rank_autoattack=ranks, drop=drop)[drop > 0].reset_index(drop=True)
    if lower.empty:
        return None
    moved = int((lower["rank"] != lower["rank_autoattack"]).sum())
    furthest = lower.iloc[int((lower["rank"] - lower["rank_autoattack"]).to_numpy().argmax())]
    return Figure(
        "best-known",
        f"A stronger attack is known for {count(len(lower), 'entry', 'entries')}; {moved} "
        f"{'changes' if moved == 1 else 'change'} rank",
        f"{furthest['model_id']} falls furthest, from rank {int(furthest['rank_autoattack'])} to "
        f"{int(furthest['rank'])} ({points(furthest['drop'], 2)} points).",
        specification(_chart(len(lower))),
        {"best_known": lower[[column.key for column in _COLUMNS]]},
        "best_known",
        _COLUMNS,
        "Filled: the rank by AutoAttack; open: by the lowest accuracy that anyone has shown.",
    )


def _chart(n_rows: int) -> Any:
    import altair as alt

    y = alt.Y(
        field="model_id",
        type="nominal",
        title=None,
        sort=alt.EncodingSortField(field="rank_autoattack", op="min"),
        axis=alt.Axis(labelLimit=220, grid=True),
    )
    base = alt.Chart(named("best_known"))
    line = base.mark_rule(strokeWidth=1.4).encode(
        y=y, x=alt.X(field="rank_autoattack", type="quantitative"), x2=alt.X2(field="rank")
    )
    before = base.mark_point(filled=True, size=60, opacity=1, color="var(--s1)").encode(
        y=y,
        x=alt.X(field="rank_autoattack", type="quantitative", title="rank", axis=alt.Axis(format="d", tickMinStep=1)),
    )
    after = base.mark_point(filled=False, shape="diamond", size=64, strokeWidth=2, opacity=1, color="var(--s2)").encode(
        y=y, x=alt.X(field="rank", type="quantitative")
    )
    return (line + before + after).properties(width="container", height=22 * n_rows)
