"""Measure by defense: Kendall's tau with the target, inside each defense and over all models."""

from typing import Any

import pandas as pd

from measurebench.reporting.charts.matrix import COLUMNS, EXPECTED, matrix, matrix_width
from measurebench.reporting.figures.figure import Figure, specification
from measurebench.reporting.html.wording import MINUS, count, listed, measure_name
from measurebench.reporting.subject.study import ALL, Study, is_sure

__all__ = ["SIGNS", "expected_sign", "figure", "turning_measures"]

SIGNS = {"+": "+", "-": MINUS, "": "\u00b7"}


def figure(study: Study) -> Figure:
    """Return the heat map; a click on a cell opens that measure's scatter."""
    levels = [level for level in study.defenses if level != ALL and _any(study, level)]
    columns = {level: f"{level}\nn = {_n(study, level)}" for level in ["", *levels]}
    columns[""] = f"all\nn = {study.analysis.n_models}"
    rows = [row for i, name in enumerate(study.ranked) for row in _rows(study, name, i, columns)]
    turning = turning_measures(study)
    title = (
        f"{count(len(turning), 'measure')} of {len(study.ranked)} {'turns' if len(turning) == 1 else 'turn'} "
        "sign between defenses, in both with certainty"
        if turning
        else f"No measure of {len(study.ranked)} certainly turns its sign between defenses"
        if len(levels) > 1
        else f"Kendall's τ of {count(len(study.ranked), 'measure')} with {study.target.the}"
    )
    names = listed([measure_name(name, study.infos) for name in turning])
    sure = [name for name in study.ranked if is_sure(study.estimate(name))]
    return Figure(
        "heatmap",
        title,
        f"Over all models {len(sure)} of {len(study.ranked)} measures have an association that is shown. "
        + (f"Sign turns between defenses: {names}." if turning else "No sign turns with certainty."),
        specification(matrix("tau", [EXPECTED, *columns.values()], len(study.ranked), "Kendall's τ")),
        {"tau": pd.DataFrame(rows)},
        "tau",
        COLUMNS,
        f"τ is 1 where a larger value of the measure always means a larger {study.target.short}, −1 where it always "
        "means a smaller one, 0 where it tells nothing. Bold: the 95 % interval excludes 0 and the adjusted p is at "
        "most 0.05. Choose a cell to see its models.",
        picks=True,
        rows=len(study.ranked),
        min_width=matrix_width(len(columns) + 1),
    )


def expected_sign(study: Study, name: str) -> str:
    """Return the direction that folklore predicts, as a sign; a dot where nobody predicted one."""
    return SIGNS[study.infos[name].hypothesis] if name in study.infos else SIGNS[""]


def turning_measures(study: Study) -> list[str]:
    """Return measures whose tau is certainly positive in one defense and certainly negative in another."""
    found = []
    for name in study.ranked:
        inside = [study.estimate(name, "tau_within", level) for level in study.defenses]
        signs = {row["estimate"] > 0 for row in inside if is_sure(row)}
        if len(signs) == 2:
            found.append(name)
    return found


def _any(study: Study, level: str) -> bool:
    return any(study.estimate(name, "tau_within", level) for name in study.ranked)


def _n(study: Study, level: str) -> int:
    return max((int(study.estimate(name, "tau_within", level).get("n_models", 0)) for name in study.ranked), default=0)


def _rows(study: Study, name: str, order: int, columns: dict[str, str]) -> list[dict[str, Any]]:
    """Return the cells of one measure: the expected sign, all models, each defense."""
    expected = expected_sign(study, name)
    shared = {"measure": name, "title": measure_name(name, study.infos), "order": order, "expected": expected}
    empty = dict.fromkeys(("estimate", "ci_low", "ci_high", "n_models", "p_adjusted"))
    cells = [shared | empty | {"column": EXPECTED, "group": "expected sign", "sign": expected}]
    for level, label in columns.items():
        row = study.estimate(name, "tau_within", level) if level else study.estimate(name)
        values = {key: row.get(key) for key in empty}
        cells.append(shared | values | {"column": label, "group": level or ALL, "sign": "", "sure": is_sure(row)})
    return cells
