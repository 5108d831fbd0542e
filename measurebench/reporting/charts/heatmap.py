"""Draws measures by defenses: Kendall's tau with the target, inside each defense and over all models."""

from typing import Any

import pandas as pd

from measurebench.reporting.charts.matrix import COLUMNS, EXPECTED, FEW_PAIRS, few_pairs, matrix, matrix_width
from measurebench.reporting.figures.figure import Figure, specification
from measurebench.reporting.html.wording import MINUS, count, listed, measure_name
from measurebench.reporting.subject.study import ALL, Study, is_sure
from measurebench.stats.judging.significance import shown_inside

__all__ = ["SIGNS", "expected_sign", "figure", "turning_measures"]

SIGNS = {"+": "+", "-": MINUS, "": "\u00b7"}


def figure(study: Study) -> Figure:
    """Return the heat map; a click on a cell opens that measure's scatter."""
    levels = [level for level in study.defenses if level != ALL and _any(study, level)]
    columns = {level: f"{level}\nn = {_n(study, level)}" for level in ["", *levels]}
    columns[""] = f"all\nn = {study.analysis.n_models}"
    drawn = [*study.ranked, *study.controls]
    rows = [row for i, name in enumerate(drawn) for row in _rows(study, name, i, columns)]
    turning = turning_measures(study)
    title = (
        f"{len(turning)} of {count(len(study.ranked), 'measure')} {'changes' if len(turning) == 1 else 'change'} sign "
        "between defenses: the association is shown in both directions"
        if turning
        else f"{_none_of(len(study.ranked))} shown to change sign between defenses"
        if len(levels) > 1
        else f"Kendall's τ of {count(len(study.ranked), 'measure')} with {study.target.the}"
    )
    names = listed([measure_name(name, study.infos) for name in turning])
    sure = [name for name in study.ranked if is_sure(study.estimate(name))]
    return Figure(
        "heatmap",
        title,
        f"Over all models an association with {study.target.the} is shown for {len(sure)} of "
        f"{count(len(study.ranked), 'measure')}. "
        + (f"The sign changes between defenses for {names}." if turning else "No change of sign is shown."),
        specification(matrix("tau", [EXPECTED, *columns.values()], len(drawn), "Kendall's τ")),
        {"tau": pd.DataFrame(rows)},
        "tau",
        COLUMNS,
        f"τ is 1 where a larger value of the measure always means a larger {study.target.short}, −1 where it always "
        "means a smaller one, and 0 where it tells nothing. Bold: the association is shown, that is, the pointwise "
        "95 % interval excludes 0 and the adjusted p is at most 0.05. Faded: fewer than "
        f"{FEW_PAIRS} pairs of models. Choose a cell to see its models." + _about_controls(study),
        picks=True,
        rows=len(drawn),
        min_width=matrix_width(len(columns) + 1),
    )


def _none_of(n: int) -> str:
    """Return the start of a sentence on no measure of n.

    >>> _none_of(1), _none_of(4)
    ('The measure is not', 'None of 4 measures is')
    """
    return "The measure is not" if n == 1 else f"None of {count(n, 'measure')} is"


def _about_controls(study: Study) -> str:
    if not study.controls:
        return ""
    return (
        " The last rows are negative controls, which know nothing of the networks: random numbers, and what the "
        "training settings alone predict for runs that they have not seen. A measure that does no better may know no "
        "more than they do."
    )


def expected_sign(study: Study, name: str) -> str:
    """Return the direction that the literature expects, as a sign; a dot where none was stated."""
    return SIGNS[study.infos[name].hypothesis] if name in study.infos else SIGNS[""]


def turning_measures(study: Study) -> list[str]:
    """Return the measures whose tau is shown to be positive in one defense and negative in another.

    By the rule of the judgements (``shown_inside``).
    """
    found = []
    for name in study.ranked:
        total = study.estimate(name)
        inside = [study.estimate(name, "tau_within", level) for level in study.defenses]
        signs = {row["estimate"] > 0 for row in inside if row and shown_inside(row, total)}
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
    empty = dict.fromkeys(("estimate", "ci_low", "ci_high", "n_models", "n_pairs", "p_adjusted"))
    cells = [shared | empty | {"column": EXPECTED, "group": "expected sign", "sign": expected, "few": False}]
    for level, label in columns.items():
        row = study.estimate(name, "tau_within", level) if level else study.estimate(name)
        values = {key: row.get(key) for key in empty}
        cells.append(
            shared
            | values
            | {"column": label, "group": level or ALL, "sign": "", "sure": is_sure(row), "few": few_pairs(row)}
        )
    return cells
