"""What the claims are made of: one row for each, the correlations behind it, and the levels that can speak."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from measurebench.stats.analysis import Analysis
from measurebench.stats.judging.numerals import signed
from measurebench.stats.judging.significance import Row, level_of, on_the_edge, with_tests

__all__ = [
    "ABSENT",
    "FAILS",
    "HOLDS",
    "OPEN",
    "UNRELIABLE",
    "Verdict",
    "absent",
    "edges",
    "inside",
    "number",
    "of_row",
    "records",
    "reliability",
    "reliable",
    "row_of",
    "units",
    "unreliable_words",
    "within",
]

HOLDS = "holds"
FAILS = "does not hold"
OPEN = "not decided"
ABSENT = "cannot be tested"

UNRELIABLE = 0.1
"""The reliability up to which a level says nothing against a measure: the noise of its target may be all there is.

It is an estimated lower bound, since models share images; an association that is shown there counts all the same.
"""


@dataclass(frozen=True)
class Verdict:
    """One row: what was claimed of which measure, the number that decides it, and how.

    ``edge`` names the rows that another seed of the resampling may decide otherwise (``on_the_edge``).
    """

    claim: str
    measure: str
    statistic: str
    verdict: str
    found: str
    estimate: float = float("nan")
    ci_low: float = float("nan")
    ci_high: float = float("nan")
    n_models: int = 0
    edge: str = ""


def inside(analysis: Analysis, measure: str) -> pd.DataFrame:
    """Return a measure's tau inside each defense; nothing where the table has no defenses."""
    return within(analysis, measure, analysis.defense or "")


def within(analysis: Analysis, measure: str, axis: str | None = None) -> pd.DataFrame:
    """Return a measure's tau inside each level of one setting, or of all, with what each rests on."""
    return with_tests(analysis.select_within(measure, axis), analysis.tests)


def _level(analysis: Analysis, axis: str, level: str, column: str) -> float:
    """Return what is known of one level of a setting; NaN where nothing is."""
    rows = analysis.levels
    found = rows.loc[(rows["axis"] == axis) & (rows["level"] == level), column]
    return float(found.iloc[0]) if len(found) else float("nan")


def units(analysis: Analysis, row: Row) -> int:
    """Return how many independent units tau inside a level rests on; at most, in an analysis of an earlier version."""
    if (own := row.get("n_units")) is not None and np.isfinite(own):
        return int(own)
    known = _level(analysis, str(row["axis"]), str(row["level"]), "n_units")
    return int(row["n_models"]) if np.isnan(known) else min(int(known), int(row["n_models"]))


def reliability(analysis: Analysis, axis: str, level: str) -> float:
    """Return the reliability of the target inside a level of a setting; NaN where it is unknown."""
    return _level(analysis, axis, level, "reliability")


def reliable(analysis: Analysis, row: Row) -> bool:
    """Say whether the level of tau can speak against a measure: its target is not all error, as far as is known."""
    return not reliability(analysis, str(row["axis"]), str(row["level"])) <= UNRELIABLE


def unreliable_words(analysis: Analysis, axis: str | None = None) -> str:
    """Name the levels (of one setting) that cannot speak against a measure, after a semicolon; nothing without any."""
    rows = analysis.levels
    rows = rows[(rows["reliability"] <= UNRELIABLE) & (rows["axis"] != "")]
    rows = rows if axis is None else rows[rows["axis"] == axis]
    told = ", ".join(_level_words(analysis, row) for row in records(rows))
    why = f"for an estimated lower bound of the target's reliability of at most {UNRELIABLE}"
    return f"; not counted, {why}: {told}" if told else ""


def _level_words(analysis: Analysis, row: Row) -> str:
    return str(row["level"]) if row["axis"] == analysis.defense else f"{row['axis']} {row['level']}"


def row_of(analysis: Analysis, measure: str, statistic: str, axis: str = "") -> Row | None:
    """Return the correlation of a measure over all models, or with what ``axis`` names held fixed; None without one."""
    rows = with_tests(analysis.select(statistic, axis), analysis.tests)
    found = records(rows[rows["measure"] == measure])
    return found[0] if found and np.isfinite(found[0]["estimate"]) else None


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as objects."""
    return [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]


def of_row(analysis: Analysis, row: Row, claim: str, verdict: str) -> Verdict:
    """Return a claim that one correlation decides by whether it is shown."""
    statistic, edge = str(row["statistic"]), edges(analysis, [row])
    numbers = (float(row["estimate"]), float(row["ci_low"]), float(row["ci_high"]))
    return Verdict(claim, str(row["measure"]), statistic, verdict, number(row), *numbers, int(row["n_models"]), edge)


def edges(analysis: Analysis, rows: Sequence[Row], total: Row | None = None) -> str:
    """Name those of the rows that another seed may show or not show otherwise: their levels, or all models.

    ``total`` is tau over all models of the same measure; inside a defense the level of its test depends on it.
    """
    drawn = (analysis.provenance.get(name) for name in ("bootstrap", "permutations"))
    bootstrap, permutations = (int(number or 0) for number in drawn)
    if not bootstrap or not permutations:
        return ""
    near = [row for row in rows if on_the_edge(row, bootstrap, permutations, analysis.n_models, level_of(row, total))]
    return ", ".join(str(row["level"] or "all models") for row in near)


def absent(claim: str, measure: str, statistic: str) -> Verdict:
    """Return a claim about a number that the table lacks."""
    return Verdict(claim, measure, statistic, ABSENT, "the table has no such number")


def number(row: Row) -> str:
    """Return an estimate with its interval.

    >>> number({"estimate": 0.5, "ci_low": 0.4, "ci_high": 0.6})
    '+0.50 [+0.40, +0.60]'
    """
    return f"{signed(row['estimate'])} [{signed(row['ci_low'])}, {signed(row['ci_high'])}]"
